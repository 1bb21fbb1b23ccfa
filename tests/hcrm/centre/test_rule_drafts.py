import io
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from hcrm.centre.classification import classify_encounters
from hcrm.centre.classification_rules import _AXIS_FACTS as _CLASSES
from hcrm.centre.classification_rules import Axis, AxisRules
from hcrm.centre.condition_words import fact_help
from hcrm.centre.facts import FACTS
from hcrm.centre.published import published_rules
from hcrm.centre.rerun import apply_run, continue_runs, start_preview
from hcrm.centre.rerun_models import ClassificationRun, RunState
from hcrm.centre.rule_drafts import (
    compare_rules,
    discard_rules_draft,
    publish_rules_draft,
    rule_text,
    rules_draft,
    save_rules_draft,
    take_back_rules,
)
from hcrm.centre.rule_views import EXAMPLE
from hcrm.core import limits
from hcrm.core.definition_file import parse_definition
from hcrm.core.definitions import publish_definition
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.work import Work
from tests.support.builders import (
    discharged,
    make_encounter,
    make_patient,
    publish_form,
    publish_protocol,
    publish_rules,
)
from tests.support.console import Browser, MakePerson, app, browser_of, cheap_passwords, make_person, settings
from tests.support.interleaved import just_before_our_lock

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
Write = Callable[[Callable[[Work], Any]], Any]
DISEASE = Axis.DISEASE_GROUP
E14 = "- code: e14\n  gives: diabetes\n  label: 糖尿病\n  when:\n  - fact: diagnosis.code\n    starts_with: [E14]\n"


def in_force(work: Work) -> Any:
    return next(each for each in published_rules(work) if each.code is DISEASE)


def save(work: Work, text: str) -> bool:
    return save_rules_draft(work, axis=DISEASE, seen=rule_text(work, DISEASE).seen, text=text)


def publish(work: Work) -> int:
    return publish_rules_draft(work, axis=DISEASE, seen=rule_text(work, DISEASE).seen)


def with_e14(work: Work) -> str:
    """The text in force, with a comment and one rule more at its end."""
    return "# 本院规则\n" + rule_text(work, DISEASE).text.rstrip() + "\n" + E14


def test_a_draft_is_compared_published_and_taken_back_as_a_new_version(work: Work):
    publish_rules(work)
    first = in_force(work)
    assert save(work, with_e14(work))

    changes = compare_rules(first, rules_draft(work, DISEASE))
    assert [(one.kind, one.code, one.before) for one in changes] == [("新增", "e14", "")]
    assert in_force(work).version == 1  # nothing is in force by a draft
    assert publish(work) == 2
    assert (in_force(work).version, len(in_force(work).rules)) == (2, 3)
    assert rule_text(work, DISEASE).text.startswith("# 本院规则")

    seen = rule_text(work, DISEASE).seen
    assert take_back_rules(work, axis=DISEASE, version=1, seen=seen) == 3
    assert (in_force(work).version, in_force(work).rules) == (3, first.rules)


def test_every_kind_of_change_is_named(work: Work):
    publish_rules(work)
    before = in_force(work)
    body = yaml.safe_load(rule_text(work, DISEASE).text)
    e11, i63 = body["rules"]
    body["several"] = False
    i63["label"] = "中风"
    extra = {**e11, "code": "e13", "when": [{"fact": "diagnosis.code", "starts_with": ["E13"]}]}
    body["rules"] = [i63, e11]
    assert save(work, yaml.safe_dump(body, allow_unicode=True))
    moved = compare_rules(before, rules_draft(work, DISEASE))
    body["rules"] = [extra]
    assert save(work, yaml.safe_dump(body, allow_unicode=True))
    gone = compare_rules(before, rules_draft(work, DISEASE))

    assert [(one.kind, one.code) for one in moved] == [("修改", "可属多类"), ("修改", "i63")]
    assert "移到第 1 条" in moved[1].after
    assert [(one.kind, one.code) for one in gone][1:] == [("新增", "e13"), ("删除", "e11"), ("删除", "i63")]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            lambda text: text.replace("gives: stroke", "give: stroke"),
            "第 15 行，rules 第 2 项 give：不认识“give”",
        ),
        (lambda text: text.replace("code: i63", "code: e11"), "规则“e11”重复"),
        (lambda text: text.replace("code: disease_group", "code: region"), "这是“区域”的规则"),
        (lambda text: text.replace("version: 1", ""), "缺少“version”"),
        (lambda text: text.replace("gives: stroke", "gives: apoplexy"), "病种“stroke”不存在"),
        (lambda text: "rules: [", "第 "),
        (lambda text: text + "#" * limits.RULES_TEXT, "最多 200,000 个字"),
        (lambda _: "", "第 1 行"),
    ],
)
def test_a_text_that_makes_no_usable_rules_is_refused_with_its_line(
    work: Work, wrong: Callable[[str], str], said: str
):
    publish_rules(work)
    publish_form(work)
    publish_protocol(work, code="test.stroke", applies_when=[{"fact": "disease_group", "is": "stroke"}])

    with pytest.raises(HcrmError, match=said) as refused:
        save(work, wrong(rule_text(work, DISEASE).text))

    assert refused.value.field == "text"
    assert not rule_text(work, DISEASE).is_draft


def test_two_people_do_not_undo_each_others_rules_and_a_file_makes_an_older_draft_give_way(work: Work):
    publish_rules(work)
    seen = rule_text(work, DISEASE).seen
    save(work, with_e14(work))
    with pytest.raises(ConflictError, match="刚被别人改过"):
        save_rules_draft(work, axis=DISEASE, seen=seen, text=with_e14(work) + "# x\n")
    with pytest.raises(ConflictError, match="还有未发布的草稿"):
        take_back_rules(work, axis=DISEASE, version=1, seen=rule_text(work, DISEASE).seen)

    body = rule_text(work, DISEASE).text
    assert publish_definition(work, kind="classification", code="disease_group", version=2, body=body)
    assert not rule_text(work, DISEASE).is_draft
    assert in_force(work).version == 2
    assert not save(work, rule_text(work, DISEASE).text)  # what is in force needs no draft


@pytest.mark.parametrize(
    ("first", "second"),
    [("saves", "saves"), ("saves", "publishes"), ("saves", "discards"), ("publishes", "publishes"),
     ("publishes", "discards")],
)  # fmt: skip
def test_of_two_who_change_rules_in_one_moment_the_second_is_told_and_overwrites_nothing(
    database, clock, write: Write, first: str, second: str
):
    write(publish_rules)
    write(lambda work: save(work, with_e14(work)))
    seen = write(lambda work: rule_text(work, DISEASE).seen)
    text = write(lambda work: rule_text(work, DISEASE).text)

    def acts(comment: str) -> dict[str, Callable[[Work], Any]]:
        return {
            "saves": lambda work: save_rules_draft(work, axis=DISEASE, seen=seen, text=text + comment),
            "publishes": lambda work: publish_rules_draft(work, axis=DISEASE, seen=seen),
            "discards": lambda work: discard_rules_draft(work, axis=DISEASE, seen=seen),
        }

    with (
        pytest.raises(ConflictError, match="刚被别人改过"),
        just_before_our_lock(database, lambda: write(acts("# 甲\n")[first])),
    ):
        write(acts("# 乙\n")[second])

    now = write(lambda work: rule_text(work, DISEASE))
    assert (now.is_draft, now.text) == ((True, text + "# 甲\n") if first == "saves" else (False, text))


def test_a_draft_is_previewed_over_all_stays_and_applied_only_when_it_is_in_force(work: Work):
    publish_rules(work)
    publish_form(work)
    stay = make_encounter(work, diagnoses=["E14.9"])
    classify_encounters(work, [discharged(stay)])
    save(work, with_e14(work))
    run = start_preview(work, draft=rules_draft(work, DISEASE))
    while continue_runs(work):
        pass
    assert (run.state, run.changed, run.rules["disease_group"]) == (RunState.READY, 1, 2)
    with pytest.raises(ConflictError, match="请先发布草稿"):
        apply_run(work, run_id=run.id)

    publish(work)
    apply_run(work, run_id=run.id)
    while continue_runs(work):
        pass
    assert run.applied == 1


def test_a_preview_of_a_draft_that_is_another_one_now_is_forgotten(work: Work):
    publish_rules(work)
    save(work, with_e14(work))
    start_preview(work, draft=rules_draft(work, DISEASE))
    save(work, rule_text(work, DISEASE).text.replace("E14", "E13"))

    assert work.all(ClassificationRun) == []


def test_rules_are_changed_published_and_taken_back_in_the_console(
    browser_of: Callable[..., Browser], make_person: MakePerson, write: Write
):
    write(publish_rules)
    write(make_patient)
    make_person("wang", ["service_centre"])
    make_person("li", ["director"])
    service, director = browser_of("wang"), browser_of("li")
    page = "/classification/rules/disease_group"
    assert director.get(page).status_code == 403
    assert service.get("/classification/rules/nothing").status_code == 404

    text, seen = write(lambda work: (with_e14(work), rule_text(work, DISEASE).seen))
    wrong = service.post(page, {"text": text.replace("gives: stroke", "give: stroke"), "seen": seen})
    assert (wrong.status_code, "不认识“give”" in wrong.text, "give: stroke" in wrong.text) == (
        422,
        True,
        True,
    )
    gbk = service.post(
        page, {"text": "", "seen": seen, "file": (io.BytesIO("规则".encode("gb18030")), "a.yaml")}
    )
    assert "须以 UTF-8 编码保存" in gbk.text
    saved = service.post(page, {"text": "", "seen": seen, "file": (io.BytesIO(text.encode()), "a.yaml")})
    assert saved.location.endswith("/draft")
    assert "E14" in service.get(saved.location).text
    assert "有草稿" in service.get("/classification").text
    assert "/runs/" in service.post(f"{page}/preview").location
    seen = write(lambda work: rule_text(work, DISEASE).seen)
    assert (
        "已发布病种规则第 2 版" in service.post(f"{page}/publish", {"seen": seen}, follow_redirects=True).text
    )
    assert "恢复这一版" in service.get(f"{page}/versions/1").text
    assert "恢复这一版" not in service.get(f"{page}/versions/2").text
    assert service.get(f"{page}/versions/9").status_code == 404
    stale = service.post(f"{page}/versions/1/restore", {"seen": "x"}, follow_redirects=True)
    assert "刚被别人改过" in stale.text
    seen = write(lambda work: rule_text(work, DISEASE).seen)
    service.post(f"{page}/versions/1/restore?seen={seen}")  # as the undo of a message does
    assert write(lambda work: in_force(work).version) == 3


def test_the_page_of_the_rules_lists_what_they_may_ask_for_and_shows_one_that_is_right(
    make_person: MakePerson, browser_of: Callable[..., Browser], write: Write
):
    write(publish_rules)
    make_person("wang", ["service_centre"])

    page = browser_of("wang").get("/classification/rules/disease_group").text

    for one in fact_help():
        assert f">{one.code}</code>" in page
    assert {one.code for one in fact_help()} == FACTS.keys() - _CLASSES
    for axis, example in EXAMPLE.items():
        text = f"code: {axis.value}\nversion: 1\nstatus: draft\ntitle: 甲\nrules:\n{example}\n"
        assert parse_definition(AxisRules, text, "甲").rules


def test_one_wrong_condition_is_one_mistake(work: Work):
    publish_rules(work)

    with pytest.raises(HcrmError) as refusal:
        save(work, with_e14(work).replace("[E14]", "[E14-E10]"))

    assert "从小到大" in refusal.value.message
    assert "不能为空" not in refusal.value.message
