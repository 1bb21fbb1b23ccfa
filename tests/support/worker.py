"""A worker as a program in a process that may be killed: it applies and delivers until then."""

import os
import time
from pathlib import Path

import sqlalchemy as sa

from hcrm.app.role_worker import IDLE_SECONDS
from hcrm.app.wiring import handlers, intake
from hcrm.archive.names.pinyin import name_pinyin
from hcrm.centre.published import published_protocols, published_rules
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database, is_away
from hcrm.core.delivery import deliver_events
from hcrm.core.logs import set_up_logging
from hcrm.core.paths import config_path
from hcrm.core.settings import load_settings
from hcrm.core.sources import load_sources
from hcrm.core.work import open_work
from hcrm.inbox.service import process_messages
from tests.support.changes import EVENING
from tests.support.forked import serve_each_line
from tests.support.listener import make_keys


def serve(url: str, key_file: str) -> None:
    """Round and round; its process id is printed once it begins. The clock stands, as in the tests it works for."""
    set_up_logging()
    limits.EVENT_RETRY_SECONDS = 0.0  # the clock stands: what failed would rest for ever
    database, clock, actor = (
        Database(url, make_keys(Path(key_file))),
        FixedClock(EVENING),
        system_actor("worker"),
    )
    sources = load_sources(config_path("sources"))
    reading, hearing = intake(sources, clock), handlers(load_settings(), sources)
    print(os.getpid(), 0, flush=True)  # noqa: T201
    while True:
        try:
            done = process_messages(database, reading) + deliver_events(database, hearing, clock, actor)
        except sa.exc.DBAPIError as error:
            if not is_away(error):
                raise
            done = 0
        if not done:
            time.sleep(IDLE_SECONDS)


def warm(url: str, key_file: str) -> None:
    """The dictionary of pinyin, and the rules and protocols of this database: a second of every child's life."""
    name_pinyin("张三")
    database = Database(url, make_keys(Path(key_file)))
    with open_work(database, actor=system_actor("worker"), write=False) as work:
        published_rules(work)
        published_protocols(work)
    database.dispose()


if __name__ == "__main__":
    serve_each_line(serve, warm)
