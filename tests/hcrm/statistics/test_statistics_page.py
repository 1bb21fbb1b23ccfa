"""The page of figures: what stands in its tables opens the rows it counts, the grand total too."""

import re
from datetime import UTC, datetime
from html import unescape

from hcrm.core.clock import local_date
from tests.support.builders import make_department, make_encounter, make_instruction
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]


def test_every_figure_of_a_table_is_a_link_and_the_grand_total_opens_all_rows(
    browser_of, make_person, write, clock
):
    def add(work):
        for code in ("甲", "乙"):
            department = make_department(work, name=f"{code}科")
            for day in (3, 9):
                when = datetime(2026, 11, day, 4, tzinfo=UTC)
                make_encounter(work, department=department, discharged_at=when)

    write(add)
    make_person("zhou")
    browser = browser_of("zhou")

    page = browser.get("/statistics").text

    figures = re.findall(r'<td class="num">(.*?)</td>', page, re.DOTALL)
    bare = [cell for cell in figures if "<a " not in cell and "—" not in cell]
    assert figures
    assert bare == []
    foot = re.search(r"<tfoot>(.*?)</tfoot>", page, re.DOTALL)[1]
    address, words = re.findall(r'href="([^"]+)">([^<]+)<', foot)[-1]
    assert words == "0 / 4"
    assert browser.get(unescape(address)).text.count('class="row-link"') == 4


def test_the_sentence_about_clicking_is_not_printed(browser_of, make_person):
    make_person("zhou")

    page = browser_of("zhou").get("/statistics").text

    assert re.search(r'<span class="d-print-none">[^<]*每个数字都能点开', page)


def test_a_record_is_opened_only_where_its_reader_may_read_it(browser_of, make_person, write, clock):
    write(lambda work: make_instruction(work, due_on=local_date(clock.now())))
    make_person("zhou", ["service_centre"])
    make_person("gao", ["director"])

    rows = "/statistics/centre.done_in_window/rows?month=2026-11&part=denominator"
    assert "/instructions/" in browser_of("zhou").get(rows).text
    shown = browser_of("gao").get(rows).text
    assert 'class="row-link"' in shown
    assert "/instructions/" not in shown
