// Peers: the clients of node-hl7-client and simple-hl7 from npm, used as their READMEs show.
//
// Sends each file of the folder in the order of their names, each after the answer to the one before it, and prints
// MSA-1 and MSA-2 of every answer as a line of JSON. Run in the folder that holds node_modules:
// node send.js node-hl7-client|simple-hl7 PORT FOLDER
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");
const peers = createRequire(path.join(process.cwd(), "package.json"));

const [name, port, folder] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const texts = fs.readdirSync(folder).sort().map((file) => fs.readFileSync(path.join(folder, file), "utf8"));
const say = (code, controlId) => process.stdout.write(JSON.stringify([code, controlId]) + "\n");

async function withNodeHl7Client() {
  const { Client, Message } = peers("node-hl7-client");
  let answered;
  const outbound = new Client({ host: "127.0.0.1" }).createConnection({ port }, async (res) => {
    const ack = res.getMessage();
    say(ack.get("MSA.1").toString(), ack.get("MSA.2").toString());
    answered();
  });
  for (const text of texts) {
    const waiting = new Promise((resolve) => (answered = resolve));
    await outbound.sendMessage(new Message({ text }));
    await waiting;
  }
  await outbound.close();
}

function withSimpleHl7() {
  const hl7 = peers("simple-hl7");
  const client = hl7.Server.createTcpClient("127.0.0.1", port);
  const parser = new hl7.Parser({ segmentSeperator: "\r" });
  const next = () => {
    if (!texts.length) return client.close();
    client.send(parser.parse(texts.shift()), (error, ack) => {
      if (error) throw error;
      const msa = ack.getSegment("MSA");
      say(msa.getField(1).toString(), msa.getField(2).toString());
      setImmediate(next); // it still awaits the response while it tells us of it
    });
  };
  next();
}

(name === "simple-hl7" ? withSimpleHl7 : withNodeHl7Client)();
