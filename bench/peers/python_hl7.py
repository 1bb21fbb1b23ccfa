"""Peer: python-hl7's asyncio server (`hl7.mllp`), used as its documentation shows.

`readmessage` parses the message, `create_ack` builds the answer, `writemessage` sends it; between them one row is
committed. Usage: python -m bench.peers.python_hl7 PORT DATABASE
"""

import asyncio
import sys
from pathlib import Path

from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server

from bench.peers.store import INSERT, open_store


async def serve(port: int, database: Path) -> None:
    """Accept on loopback until the process is ended."""
    store = open_store(database)

    async def converse(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        try:
            while True:
                message = await reader.readmessage()
                store.execute(INSERT, (str(message["MSH.F10"]), str(message).encode()))
                writer.writemessage(message.create_ack())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await start_hl7_server(converse, "127.0.0.1", port, encoding="utf-8")
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
