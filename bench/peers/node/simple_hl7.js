// Peer: simple-hl7's TCP server from npm, used as its README shows: it parses the message and makes the ACK.
//
// One row is committed before res.end(). Run in the folder that holds node_modules: node simple_hl7.js PORT DATABASE
"use strict";

const { openInsert, requireHere } = require("./store.js");
const hl7 = requireHere("simple-hl7");

const port = Number(process.argv[2]);
const insert = openInsert(process.argv[3]);
const app = hl7.tcp();

app.use((req, res, next) => {
  insert.run(req.msg.header.getField(8).toString(), Buffer.from(req.raw.slice(1, -2)));
  next();
});
app.use((req, res) => res.end());
app.use((error, req, res, next) => console.error(error));

// The library hands its first argument to net.Server.listen, which takes options too: loopback only.
app.start({ port, host: "127.0.0.1", backlog: 128 });
