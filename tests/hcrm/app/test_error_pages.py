"""A page that says no still leads on: menu and search for whoever is signed in, a bare page where that cannot be."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from tests.support.console import app, browser_of, cheap_passwords, make_person, settings

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]

MENU, SEARCH = 'aria-label="主菜单"', 'role="search"'
REFUSED = {"/nowhere": 404, "/patients/nobody": 404, "/accounts": 403, "/logout": 405}


@pytest.mark.parametrize("path", REFUSED)
def test_a_refusal_of_a_place_has_menu_and_search_for_somebody_signed_in(browser_of, make_person, path):
    make_person("zhou", roles=["service_centre"])

    answer = browser_of("zhou").get(path)

    assert answer.status_code == REFUSED[path]
    assert MENU in answer.text
    assert SEARCH in answer.text
    assert answer.text.count("<h1>") == 1


def test_nobody_signed_in_gets_the_bare_page(app):
    answer = app.test_client().get("/nowhere")

    assert (answer.status_code, MENU in answer.text) == (404, False)


def test_a_database_of_another_release_is_called_so(browser_of, make_person, database):
    make_person("zhou", roles=["service_centre"])
    browser = browser_of("zhou")

    def rename(before, after):
        with database.writer.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE death_report RENAME COLUMN {before} TO {after}"))

    rename("told_by", "teller")
    try:
        answer = browser.get("/deaths")
    finally:
        rename("teller", "told_by")  # other tests have this database too

    assert answer.status_code == 503
    assert "数据库结构与程序版本不符" in answer.text
    assert "hcrm doctor" in answer.text
    assert "told_by" not in answer.text


def test_without_a_database_the_page_is_bare_and_still_says_what_it_is(app, browser_of, make_person):
    make_person("zhou", roles=["service_centre"])
    browser = browser_of("zhou")

    def away():
        raise OperationalError("", {}, Exception("away"))

    app.extensions["hcrm.shell"] = replace(app.extensions["hcrm.shell"], load_person=away)
    answer = browser.get("/nowhere")

    assert (answer.status_code, MENU in answer.text) == (404, False)
    assert "没有找到这个页面" in answer.text
