// Peer: node-hl7-server from npm, used as its README shows: it parses the message and makes the ACK.
//
// One row is committed before res.sendResponse(). The library keeps what it has read on a connection before, so a
// second message there would be answered with the first one's number: one message per connection.
// Run in the folder that holds node_modules: node node_hl7_server.js PORT DATABASE
"use strict";

const net = require("node:net");
const { openInsert, requireHere } = require("./store.js");
const { Server } = requireHere("node-hl7-server");

// The library names the address `hostname`, which node does not know: it would listen to the whole network.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return listen.call(this, { ...options, host: "127.0.0.1", backlog: 128 }, ...rest);
};

const port = Number(process.argv[2]);
const insert = openInsert(process.argv[3]);
const inbound = new Server({ bindAddress: "127.0.0.1" }).createInbound({ port }, async (req, res) => {
  const message = req.getMessage();
  insert.run(message.get("MSH.10").toString(), Buffer.from(message.toString()));
  await res.sendResponse("AA");
});
inbound.on("data.error", (error) => console.error(error));
inbound.on("client.error", () => {}); // who hangs up is no fault of ours
