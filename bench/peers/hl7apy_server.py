"""Peer: hl7apy's own `MLLPServer`: a thread per connection, one message per connection.

`cheap` reads MSH by splitting and answers with a text made by hand, the fastest this server allows; `parsed`
parses the message with hl7apy and builds the ACK with it, as its documentation shows. Both commit one row first,
under one lock around one connection. Usage: python -m bench.peers.hl7apy_server PORT DATABASE cheap|parsed
"""

import sys
import threading
from pathlib import Path

from hl7apy.core import Message
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message

from bench.peers.store import INSERT, open_store


class Server(MLLPServer):
    """The library's server with a longer backlog than its 5, so that 32 connections need not retry."""

    request_queue_size = 128
    daemon_threads = True


class Cheap(AbstractHandler):
    """Store and answer without hl7apy's parser."""

    def __init__(self, message: str, store: "Store") -> None:
        super().__init__(message)
        self.store = store

    def reply(self) -> str:
        """The answer to one message, with its MLLP bytes."""
        control_id = self.incoming_message.split("\r", 1)[0].split("|")[9]
        self.store.add(control_id, self.incoming_message)
        return f"\x0bMSH|^~\\&|PEER|PEER|||||ACK|1|P|2.5\rMSA|AA|{control_id}\r\x1c\r"


class Parsed(Cheap):
    """Parse, store, build the ACK: all with hl7apy."""

    def reply(self) -> str:
        """The same answer, made by the library."""
        message = parse_message(self.incoming_message)
        control_id = message.msh.msh_10.to_er7()
        self.store.add(control_id, self.incoming_message)
        ack = Message("ACK", version="2.5")
        ack.msh.msh_9 = "ACK"
        ack.msa.msa_1 = "AA"
        ack.msa.msa_2 = control_id
        return ack.to_mllp()


class Store:
    """One connection shared by the server's threads: SQLite has one writer at a time anyway."""

    def __init__(self, path: Path) -> None:
        self.connection = open_store(path)
        self.lock = threading.Lock()

    def add(self, control_id: str, raw: str) -> None:
        """Commit one row."""
        with self.lock:
            self.connection.execute(INSERT, (control_id, raw.encode()))


def main() -> None:
    """Serve until the process is ended; the library dispatches on the full text of MSH-9."""
    port, database, shape = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    handler = (Parsed if shape == "parsed" else Cheap, Store(database))
    handlers = {"ADT^A03": handler, "ADT^A03^ADT_A03": handler}
    Server("127.0.0.1", port, handlers).serve_forever()


if __name__ == "__main__":
    main()
