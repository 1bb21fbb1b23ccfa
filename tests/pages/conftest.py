"""The real application on a loopback port, walked in Chromium."""

import re
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from tests.support.console import PASSWORD, app, cheap_passwords, make_person, settings
from tests.support.station import ward

__all__ = ["app", "cheap_passwords", "make_person", "settings", "ward"]

DESK = {"width": 1280, "height": 720}
REFUSED = re.compile("Failed to load resource: .* status of 4")  # meant to be refused


@pytest.fixture
def console_url(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page_of(browser: Any, console_url: str) -> Iterator[Callable[[str], Any]]:
    """A page of a person who signed in; what the browser complains of (the policy above all) fails the test."""
    contexts, complaints = [], []

    def open_page(username: str) -> Any:
        context = browser.new_context(viewport=DESK, base_url=console_url, locale="zh-CN")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda fault: complaints.append(str(fault)))
        page.goto("/login")
        page.fill("[name=username]", username)
        page.fill("[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda address: "/login" not in address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in complaints if not REFUSED.search(text)] == []
