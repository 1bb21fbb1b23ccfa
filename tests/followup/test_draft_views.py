"""The station's forms as they are typed, kept, refused and disputed."""

import re

import pytest
import sqlalchemy as sa

from hcrm.centre.models import Instruction, InstructionState
from hcrm.forms.models import Response, ResponseState
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.station import ward
from tests.support.station_forms import QUIET, filled, form_of, hidden, physician, read

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "physician", "settings", "ward"]


@pytest.mark.parametrize("act", ["form", "draft"])
@pytest.mark.parametrize("version", ["9" * 10, "9" * 5000, "-1", "²"])
def test_a_version_nobody_gave_out_is_refused_and_the_text_stays(physician, ward, database, act, version):
    page = form_of(physician, ward.first)
    answer = physician.post(f"/instructions/{ward.first}/{act}", filled(page, version=version))

    assert answer.status_code == 422
    assert "都好" in answer.text
    assert read(database, sa.select(Response)) == []


@pytest.mark.parametrize("version", ["2147483648", "9" * 5000])
def test_a_form_of_a_version_there_cannot_be_is_not_found(physician, version):
    form_of(physician, "0" * 32)

    assert physician.post(f"/forms/call/{version}/flags", {"a-pain": "9"}).status_code == 404


def test_a_nul_in_what_was_typed_is_left_out(physician, ward, database):
    page = form_of(physician, ward.first)
    answer = physician.post(
        f"/instructions/{ward.first}/form", filled(page, note="女儿\0接听", **{"a-remark": "都\0好"})
    )

    assert answer.status_code == 303
    (saved,) = read(database, sa.select(Response))
    assert (saved.answers["remark"], saved.note) == ("都好", "女儿接听")


def test_an_answer_to_a_question_that_is_not_asked_is_not_kept(physician, ward, database):
    page = form_of(physician, ward.first)
    physician.post(f"/instructions/{ward.first}/form", filled(page, **{"a-wound": "no", "a-pus": "yes"}))

    assert "pus" not in read(database, sa.select(Response))[0].answers


def test_a_draft_is_saved_quietly_and_fills_the_form_again(physician, ward, database):
    page = form_of(physician, ward.first)
    sent = filled(page, **{"a-pain": "7", "a-temperature": "5x"})
    first = physician.post(f"/instructions/{ward.first}/draft", sent, headers=QUIET)
    second = physician.post(
        f"/instructions/{ward.first}/draft", {**sent, "version": hidden(first, "version"), "a-pain": "8"},
        headers=QUIET,
    )  # fmt: skip

    assert "草稿已保存 10:00（1 处读不懂，未保存）" in first.text
    assert hidden(second, "version") == "2"
    draft = read(database, sa.select(Response))[0]
    assert (draft.state, draft.answers["pain"]) == (ResponseState.DRAFT, 8)
    assert read(database, sa.select(Instruction.state).where(Instruction.id == ward.first)) == [
        InstructionState.IN_PROGRESS
    ]
    again = form_of(physician, ward.first)
    assert hidden(again, "record_id") == draft.id
    assert re.search(r'name="a-pain" value="8"[^>]* checked', again.text)


def test_the_button_saves_a_draft_and_shows_what_could_not_be_read(physician, ward, database):
    page = form_of(physician, ward.first)
    answer = physician.post(f"/instructions/{ward.first}/draft", filled(page, **{"a-temperature": "5x"}))

    assert answer.status_code == 422
    assert "草稿已保存" in answer.text
    assert 'value="5x"' in answer.text
    assert hidden(answer, "version") == "1", "the next save goes on from the draft"


def test_two_people_with_one_form_overwrite_nothing_unseen(physician, ward, browser_of, database):
    mine, head = form_of(physician, ward.first), browser_of("zhao")
    theirs = form_of(head, ward.first)
    head.post(
        f"/instructions/{ward.first}/draft",
        filled(theirs, note="女儿接听", **{"a-pain": "9", "a-remark": "家属代答"}),
    )

    refused = physician.post(f"/instructions/{ward.first}/form", filled(mine, **{"a-pain": "1"}))

    assert refused.status_code == 409
    assert "赵主任 已于 11-22 10:00 保存了另一份草稿" in refused.text
    assert "现有：9 分" in refused.text
    assert "现有：家属代答" in refused.text
    assert "现有：女儿接听" in refused.text
    assert "都好" in refused.text, "what I typed stays in its field"
    assert read(database, sa.select(Response.state)) == [ResponseState.DRAFT]
    knowing = physician.post(f"/instructions/{ward.first}/form", filled(refused, **{"a-pain": "1"}))
    assert knowing.status_code == 303
    assert read(database, sa.select(Response))[0].answers["pain"] == 1


def test_a_conflict_shows_what_both_began_with(physician, ward, browser_of):
    physician.post(
        f"/instructions/{ward.first}/draft",
        filled(
            form_of(physician, ward.first),
            note="上午打过",
            **{"a-pain": "5", "a-remark": "", "a-temperature": ""},
        ),
    )
    mine, head = form_of(physician, ward.first), browser_of("zhao")
    draft = f"/instructions/{ward.first}/draft"
    head.post(
        draft, filled(form_of(head, ward.first), note="女儿接听", **{"a-pain": "9", "a-remark": "家属代答"})
    )

    refused = physician.post(draft, filled(mine, note="我的备注", **{"a-pain": "1", "a-remark": "我的话"}))
    again = physician.post(draft, filled(refused, **{"a-pain": "2", "version": "1"}))

    for now, before in (("9 分", "5 分"), ("家属代答", "未填写"), ("女儿接听", "上午打过")):
        assert f'现有：{now}<span class="original">原来：{before}</span>' in refused.text
    assert "原来：9 分" in again.text, "from now on both begin with what stands"


@pytest.mark.parametrize(
    "base", ["", "{", '{"answers": {"pain": "99"}, "note": 1}', '{"answers": [], "note": ""}']
)
def test_where_the_beginning_is_not_known_the_two_texts_are_shown(physician, ward, browser_of, base):
    mine, head = form_of(physician, ward.first), browser_of("zhao")
    head.post(f"/instructions/{ward.first}/draft", filled(form_of(head, ward.first), **{"a-pain": "9"}))

    refused = physician.post(f"/instructions/{ward.first}/form", filled(mine, base=base, **{"a-pain": "1"}))

    assert refused.status_code == 409
    assert "现有：9 分" in refused.text
    assert "原来：" not in refused.text


def test_a_form_that_somebody_finished_meanwhile_keeps_my_text_to_copy(physician, ward, browser_of):
    mine, head = form_of(physician, ward.first), browser_of("zhao")
    head.post(f"/instructions/{ward.first}/form", filled(form_of(head, ward.first)))

    refused = physician.post(
        f"/instructions/{ward.first}/form", filled(mine, **{"a-remark": "患者问能否坐飞机"})
    )

    assert refused.status_code == 409
    assert "不能登记随访结果" in refused.text
    assert "患者问能否坐飞机" in refused.text


def test_a_saved_draft_is_marked_in_the_list(physician, ward):
    page = form_of(physician, ward.first)
    physician.post(f"/instructions/{ward.first}/draft", filled(page))

    assert '<span class="tag">草稿</span>' in physician.get("/today").text
    assert "草稿已保存" in form_of(physician, ward.first).text


def test_a_refused_form_shows_a_stranger_the_free_text_alone(ward, browser_of):
    page = filled(form_of(browser_of("li"), ward.first), note="女儿接听")
    refused = browser_of("qian").post(f"/instructions/{ward.first}/form", page)

    kept = re.search(r"<details.*?</details>", refused.text, re.DOTALL)[0]
    assert refused.status_code == 404
    assert sorted(re.findall("<li>(.*?)</li>", kept)) == ["女儿接听", "都好"]


def test_a_form_refused_for_its_token_names_the_questions_to_whom_they_are(physician, ward, app):
    page = filled(form_of(physician, ward.first), note="女儿接听", **{"a-drugs": ["b"]})
    app.config["WTF_CSRF_ENABLED"] = True
    refused = physician.post(f"/instructions/{ward.first}/form", {**page, "csrf_token": "old"})

    assert refused.status_code == 403
    for line in ("疼痛：2", "体温：36.5", "带了哪些药？：他汀", "备注：女儿接听"):
        assert f"<li>{line}</li>" in refused.text
    assert page["record_id"] not in refused.text
