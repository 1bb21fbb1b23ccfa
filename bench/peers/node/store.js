// The table every npm peer stores into: one row and one commit per message.
//
// SQLite through node:sqlite where node has it (22 and later), else through better-sqlite3; both are synchronous.
"use strict";

const path = require("node:path");
const { createRequire } = require("node:module");

/** Packages are looked for in the folder the peer is run in: it holds node_modules. */
const requireHere = createRequire(path.join(process.cwd(), "package.json"));

const SCHEMA = `
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY,
    control_id TEXT NOT NULL,
    received_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    raw BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS message_control_id ON message (control_id);
`;

/** A statement that commits one row: its control id and bytes. */
function openInsert(file) {
  const major = Number(process.versions.node.split(".")[0]);
  const store =
    major >= 22
      ? new (require("node:sqlite").DatabaseSync)(file)
      : new (requireHere("better-sqlite3"))(file);
  store.exec(SCHEMA);
  return store.prepare("INSERT INTO message (control_id, raw) VALUES (?, ?)");
}

module.exports = { openInsert, requireHere };
