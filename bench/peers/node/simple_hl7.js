// Peer: simple-hl7's TCP server from npm, used as its README shows: it parses the message and makes the ACK.
//
// One row is committed before res.end(). SQLite through node:sqlite where node has it (22 and later), else
// through better-sqlite3; both are synchronous. Run in the folder that holds node_modules:
// node simple_hl7.js PORT DATABASE
"use strict";

const path = require("node:path");
const { createRequire } = require("node:module");
const requireHere = createRequire(path.join(process.cwd(), "package.json"));
const hl7 = requireHere("simple-hl7");

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

function openStore(file) {
  const major = Number(process.versions.node.split(".")[0]);
  const store =
    major >= 22
      ? new (require("node:sqlite").DatabaseSync)(file)
      : new (requireHere("better-sqlite3"))(file);
  store.exec(SCHEMA);
  return store;
}

const port = Number(process.argv[2]);
const store = openStore(process.argv[3]);
const insert = store.prepare("INSERT INTO message (control_id, raw) VALUES (?, ?)");
const app = hl7.tcp();

app.use((req, res, next) => {
  insert.run(req.msg.header.getField(8).toString(), Buffer.from(req.raw.slice(1, -2)));
  next();
});
app.use((req, res) => res.end());
app.use((error, req, res, next) => console.error(error));

// The library hands its first argument to net.Server.listen, which takes options too: loopback only.
app.start({ port, host: "127.0.0.1", backlog: 128 });
