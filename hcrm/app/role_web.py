"""The console and the API over HTTP."""

import gc
import threading

import structlog
from waitress.server import create_server

from hcrm.app.address import split_address
from hcrm.app.factory import create_app
from hcrm.app.role import Role

DRAIN_SECONDS = 10
log = structlog.get_logger(__name__)


def run(role: Role) -> None:
    """Answer until told to stop, then let running requests finish."""
    host, port = split_address(role.address)
    app = create_app(role.settings, role.database)
    gc.freeze()  # it stays: looking through all of it stopped a page for a fifth of a second now and then
    server = create_server(app, host=host, port=port, threads=role.settings.http.threads, ident=None)
    threading.Thread(target=server.run, name="web", daemon=True).start()
    log.info("web.listening", host=host, port=port)  # the socket is bound: who connects now is answered
    role.stop.wait()
    server.close()
    server.task_dispatcher.shutdown(timeout=DRAIN_SECONDS)
