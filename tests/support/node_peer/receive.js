// Peer: node-hl7-server from npm, used as its README shows: it parses a message and answers with the code it is told.
//
// Every message it received is printed as one line of JSON. Run in the folder that holds node_modules:
// node receive.js PORT CODE
"use strict";

const net = require("node:net");
const path = require("node:path");
const { createRequire } = require("node:module");
const { Server } = createRequire(path.join(process.cwd(), "package.json"))("node-hl7-server");

// The library names the address `hostname`, which node does not know: it would listen to the whole network.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return listen.call(this, { ...options, host: "127.0.0.1" }, ...rest);
};

const [port, code] = [Number(process.argv[2]), process.argv[3]];
const inbound = new Server({ bindAddress: "127.0.0.1" }).createInbound({ port }, async (req, res) => {
  const message = req.getMessage();
  const line = {
    controlId: message.get("MSH.10").toString(),
    name: message.get("PID.5").toString(),
    text: message.toString(),
  };
  process.stdout.write(JSON.stringify(line) + "\n");
  await res.sendResponse(code);
});
inbound.on("listen", () => process.stdout.write("ready\n"));
