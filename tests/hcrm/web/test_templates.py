import re
from pathlib import Path

import pytest
from flask import Flask, request
from jinja2_fragments.flask import render_block

from hcrm.core.paths import template_path
from hcrm.web.filters import url_with
from hcrm.web.paging import Page

PAGES = sorted(template_path("web").rglob("*.html"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@each_page
def test_no_template_holds_style_or_script_of_its_own(page: Path):
    """The policy blocks both, and a page that needs them looks right only to whoever wrote it without the headers."""
    text = page.read_text(encoding="utf-8")

    assert not re.search(
        r"\sstyle\s*=|<style|\son[a-z]+\s*=\s*[\"']|hx-on|javascript:|hx-vals=['\"]js:", text
    )
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


@each_page
def test_every_posted_form_carries_the_token(page: Path):
    forms = re.findall(
        r"<form[^>]*method=\"post\".*?</form>", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    without_comments = [form for form in forms if "…" not in form]

    assert all("csrf" in form for form in without_comments)


@pytest.mark.parametrize("code", [400, 403, 404, 405, 409, 413, 422, 429, 500, 503])
def test_every_fault_has_a_page_that_needs_nothing(console: Flask, code):
    with console.test_request_context("/nowhere"):
        page = console.jinja_env.get_template(f"errors/{code}.html").render(incident="a1b2c3")

    assert page.count("<h1>") == 1
    assert "a1b2c3" in page
    assert "回到首页" in page


def test_a_refused_form_is_shown_on_the_page_of_the_fault_to_be_copied(console: Flask):
    with console.test_request_context("/form", method="POST"):
        page = console.jinja_env.get_template("errors/409.html").render(
            kept=[("备注", "患者诉<头晕>"), ("", "女儿接听")]
        )

    assert "<li>备注：患者诉&lt;头晕&gt;</li>" in page
    assert "<li>女儿接听</li>" in page


def test_a_fault_of_the_whole_form_stands_in_the_summary_without_a_link(console: Flask):
    with console.test_request_context("/form"):
        summary = console.jinja_env.globals["ui"].error_summary({"form": "已超过随访时间窗"})

    assert "<li>已超过随访时间窗</li>" in summary


def test_a_page_shows_its_place_its_person_and_one_heading(console: Flask):
    page = console.test_client().get("/instructions").get_data(as_text=True)

    assert "<title>随访指令 · 江南市第一人民医院</title>" in page
    assert page.count("<h1>") == 1
    assert page.count('aria-current="page"') == 1
    assert "林晓梅 · 客服主管" in page
    assert "新建" not in page  # no entry yet, so no menu


def test_a_block_rendered_alone_knows_the_macros(console: Flask):
    with console.test_request_context("/instructions"):
        page = Page([("张建国", None)], None, None)
        fragment = render_block("list.html", "rows", page=page)

    assert "张建国" in fragment
    assert "<html" not in fragment


def test_a_field_ties_its_hint_and_its_error_to_the_input(console: Flask):
    page = post_form(console, sbp="abc")

    assert 'aria-describedby="hint-sbp error-sbp" aria-invalid="true"' in page
    assert '<p class="field-error" id="error-sbp">请填写数字</p>' in page
    assert '<a href="#f-sbp">收缩压：请填写数字</a>' in page
    assert 'value="abc"' in page


def test_what_a_person_typed_is_shown_as_text_and_never_as_markup(console: Flask):
    page = post_form(console, sbp='"><script>', note="</textarea><b>")

    assert 'value="&#34;&gt;&lt;script&gt;"' in page
    assert "&lt;/textarea&gt;&lt;b&gt;" in page


def post_form(console: Flask, **fields: str) -> str:
    client = console.test_client()
    client.get("/form")
    with client.session_transaction() as session:
        session.setdefault("csrf_token", "made up")
    token = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/form").get_data(as_text=True))
    answer = client.post("/form", data={"csrf_token": token[1], **fields})
    assert answer.status_code == 422
    return answer.get_data(as_text=True)


def test_an_ended_session_carries_every_field_through_the_login(console: Flask):
    with console.test_request_context("/form", method="POST"):
        page = console.jinja_env.get_template("login_again.html").render(
            username="1001",
            again_action="/again",
            target="/form",
            fields=[("edu", "a"), ("edu", "b"), ("note", "头晕")],
        )

    assert page.count('name="kept.edu"') == 2
    assert '<input type="hidden" name="kept.note" value="头晕">' in page
    assert "readonly" in page


@pytest.mark.parametrize(
    ("path", "changes", "expected"),
    [
        ("/instructions?due=late&key=n1", {"key": None, "due": None}, "/instructions"),
        ("/instructions?due=late", {"key": "n2"}, "/instructions?due=late&key=n2"),
        ("/instructions?dept=a&dept=b&key=x", {"key": None}, "/instructions?dept=a&dept=b"),
        ("/patients/7?kind=call", {"kind": "visit"}, "/patients/7?kind=visit"),
        ("/instructions?_external=1&_scheme=javascript", {"key": "n"},
         "/instructions?_external=1&_scheme=javascript&key=n"),
    ],
)  # fmt: skip
def test_an_address_changes_only_what_is_asked(console: Flask, path, changes, expected):
    with console.test_request_context(path):
        assert request.endpoint
        assert url_with(**changes) == expected


def test_a_chosen_filter_leads_back_without_it_and_without_the_page_key(console: Flask):
    chosen = console.test_client().get("/instructions?due=late&key=n1").get_data(as_text=True)

    assert '<a class="chip on" href="/instructions" aria-current="true">' in chosen
    assert 'href="/instructions?due=late&amp;key=p1"' in chosen


@pytest.mark.parametrize("kind", ["none", "filtered", "no_right"])
def test_an_empty_list_says_which_of_three_it_is(console: Flask, kind):
    page = console.test_client().get("/patients/1").get_data(as_text=True)

    assert f"empty-{kind}" in page


@each_page
def test_what_a_page_asks_again_and_again_by_itself_keeps_nobody_signed_in(page: Path):
    text = page.read_text(encoding="utf-8")

    assert len(re.findall(r'hx-trigger="[^"]*\bevery ', text)) == text.count(
        """hx-headers='{"X-Refresh": "1"}'"""
    )
