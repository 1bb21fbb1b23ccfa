"""Where the family asks for silence, nothing of the shipped forms and protocols tells the patient their illness."""

import re
from collections.abc import Iterator

import pytest
import yaml

from hcrm.centre.protocols import load_protocols
from hcrm.core.paths import config_path
from hcrm.forms.definition import Questionnaire, load_questionnaires
from hcrm.forms.render import form_fields

FORMS = load_questionnaires(config_path("forms"))
PROTOCOLS = {protocol.code: protocol for protocol in load_protocols(config_path("protocols"))}
SAID = {  # how people say them; the labels of the groups are added below
    "支架", "中风", "卒中", "血栓", "血糖", "降糖", "胰岛素", "糖化", "癌", "肿瘤", "化疗",
    "放疗", "肝炎", "透析", "抑郁症",
}  # fmt: skip
COMMON = {"流产", "手术"}  # stand in the label of a group and mean no illness by themselves


def group_words() -> set[str]:
    """The labels of every disease group, cut where they name several."""
    rules = yaml.safe_load(config_path("classification", "disease_group.yaml").read_text(encoding="utf-8"))[
        "rules"
    ]
    parts = {part for rule in rules for part in re.split(r"[、与和]", rule["label"])}
    return {part for part in parts if len(part) > 1} | SAID - COMMON


def heard(form: Questionnaire, *, is_discreet: bool) -> Iterator[str]:
    """Everything of a form that reaches the patient."""
    yield form.heading(is_discreet=is_discreet)
    for field in form_fields(form, {}, {}, is_discreet=is_discreet):
        yield field.text
        yield from (words for _, words in field.options)


@pytest.mark.parametrize("code", sorted(FORMS))
def test_no_form_names_the_illness_where_silence_is_asked_for(code):
    said = [
        (word, text)
        for text in heard(FORMS[code], is_discreet=True)
        for word in group_words()
        if word in text
    ]

    assert said == []


def test_without_that_the_forms_speak_plainly():
    """The test above can fail: the usual wording does name illnesses."""
    plain = " ".join(text for form in FORMS.values() for text in heard(form, is_discreet=False))

    assert {"中风", "支架", "血糖"} <= {word for word in group_words() if word in plain}


@pytest.mark.parametrize("code", sorted(PROTOCOLS))
def test_no_protocol_tells_a_patient_the_illness_by_its_name(code):
    assert [word for word in group_words() if word in PROTOCOLS[code].patient_title] == []
