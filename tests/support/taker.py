"""A program that takes in what lies in a drop folder, lists too, in a process that may be killed."""

import importlib
import os
from pathlib import Path

from adapters.his import taking
from adapters.his.drop_folder import DropFolder
from hcrm.core.clock import SystemClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database
from hcrm.core.logs import set_up_logging
from hcrm.core.sources import Sources
from hcrm.inbox.intake import store_now
from tests.support.drop_folder import source_of
from tests.support.forked import serve_each_line

KEYS = KeyRing(current="k1", data={"k1": bytes(range(32))}, index=bytes(range(32, 64)))  # those of the tests


def serve(url: str, drop: str) -> None:
    """Every file once; its process id is printed before it begins."""
    set_up_logging()
    importlib.reload(
        taking
    )  # it knows its process by a number of its own, not by that of the one it is forked from
    source = source_of(Path(drop), rows={"patient_no": "病人ID", "visit_no": "住院号"})
    database = Database(url, KEYS)
    print(os.getpid(), 0, flush=True)  # noqa: T201
    DropFolder(source, Sources([source])).take_all(
        lambda items: store_now(database, items), SystemClock().now, lambda _taken: None
    )
    database.dispose()


def warm(url: str, _drop: str) -> None:
    """The driver of the database is loaded."""
    Database(url, KEYS).dispose()


if __name__ == "__main__":
    serve_each_line(serve, warm)
