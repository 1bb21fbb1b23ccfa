import pytest
from flask import Flask

from hcrm.web.security import is_from_own_page


def test_a_page_closes_every_door(console):
    headers = console.test_client().get("/instructions").headers

    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in headers


def test_over_tls_browsers_are_told_to_stay_there_for_a_year(console):
    headers = console.test_client().get("/instructions", base_url="https://hospital.test").headers

    assert headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/static/css/hcrm.css?v=1", "public, max-age=31536000, immutable"),
        ("/static/css/hcrm.css", "no-cache"),
        ("/static/css/nothing.css?v=1", "no-store"),
        ("/reveal", "no-store"),
    ],
)
def test_only_versioned_static_files_are_kept_by_the_browser(console, path, kept):
    with console.test_client().get(path) as answer:
        assert answer.headers["Cache-Control"] == kept
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"Origin": "http://localhost"}, True),
        ({"Referer": "http://localhost/form?x=1"}, True),
        ({"Origin": "http://elsewhere.test"}, False),
        ({"Origin": "http://localhost.elsewhere.test"}, False),
        ({"Origin": "https://localhost"}, False),
        ({"Origin": "http://localhost:99999999"}, False),
        ({"Origin": "http://[", "Referer": "http://localhost/"}, False),
        ({"Origin": "null", "Referer": "http://localhost/form"}, False),
        ({}, False),
    ],
)
def test_only_a_form_of_our_own_is_kept_through_a_login(console: Flask, headers, own):
    with console.test_request_context("/form", method="POST", headers=headers):
        assert is_from_own_page() is own
