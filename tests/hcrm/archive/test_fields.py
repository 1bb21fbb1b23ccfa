"""Fields of the archive: what may be kept, whose word it is, nobody overwrites what they have not seen."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.archive.arrivals import Arrival
from hcrm.archive.fields.allergies import add_allergy
from hcrm.archive.fields.definition import FieldsFile, FieldType, PatientField
from hcrm.archive.fields.models import PatientFieldValue
from hcrm.archive.fields.service import (
    FieldConflictError,
    published_fields,
    set_field,
    stale_since,
    standing_values,
    undo_edit,
)
from hcrm.archive.fields.values import clean_values
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import Allergy, Patient
from hcrm.archive.service import absorb_records
from hcrm.archive.terms import Informant, Sex
from hcrm.audit.models import AuditEvent
from hcrm.core.clock import local_date
from hcrm.core.definition_file import load_definition
from hcrm.core.errors import ConflictError, DeniedError, HcrmError, NotFoundError
from hcrm.core.paths import config_path
from hcrm.core.work import Work
from tests.support.builders import actor_of, make_department, make_patient, make_practitioner, publish_fields
from tests.support.changes import change

SHIPPED = load_definition(FieldsFile, config_path("fields.yaml"))


@pytest.fixture
def patient(work: Work) -> Patient:
    publish_fields(work)
    return make_patient(work, sex=Sex.FEMALE, birth_date=date(1990, 3, 7))


def live(work: Work, patient: Patient, code: str) -> list[PatientFieldValue]:
    work.session.expire_all()
    return list(standing_values(work, patient.id).get(code, ()))


def put(work: Work, patient: Patient, code: str, *values: str, **other: object) -> str | None:
    return set_field(work, patient_id=patient.id, field_code=code, values=values, **other).act_id  # type: ignore[arg-type]


# ── editing ─────────────────────────────────────────────────────────────────


def test_a_value_is_kept_with_whose_word_it_is_and_when(work: Work, patient: Patient):
    put(
        work,
        patient,
        "pregnancy",
        "pregnant",
        informant=Informant.PATIENT,
        note=" 12 周 ",
        asked_on=date(2026, 11, 20),
    )

    (row,) = live(work, patient, "pregnancy")
    assert (row.value, row.note, row.informant, row.source) == (
        "pregnant",
        "12 周",
        Informant.PATIENT,
        "console",
    )
    assert (row.asked_on, row.as_of, row.actor_name) == (
        date(2026, 11, 20),
        work.clock.now(),
        work.actor.name,
    )
    work.flush()
    event = work.one(AuditEvent, AuditEvent.action == "field.write")
    assert event.detail == {"field": "pregnancy"}  # never the value


def test_what_gives_way_ends_and_says_by_which_edit(work: Work, patient: Patient):
    put(work, patient, "employer", "一厂")
    act = put(work, patient, "employer", "二厂")

    (now,) = live(work, patient, "employer")
    (before,) = work.all(PatientFieldValue, PatientFieldValue.ended_at.is_not(None))
    assert (now.value, before.value, before.ended_act_id, now.act_id) == ("二厂", "一厂", act, act)


def test_the_same_again_changes_nothing(work: Work, patient: Patient):
    put(work, patient, "employer", "一厂")

    assert put(work, patient, "employer", "一厂") is None


def test_a_question_asked_anew_is_answered_anew_though_the_answer_is_the_same(work: Work, patient: Patient):
    put(work, patient, "pregnancy", "pregnant", asked_on=date(2026, 9, 1))
    put(work, patient, "pregnancy", "pregnant", asked_on=date(2026, 11, 21))

    (row,) = live(work, patient, "pregnancy")
    assert row.asked_on == date(2026, 11, 21)


def test_lines_of_a_list_nobody_touched_keep_their_author(work: Work, patient: Patient):
    put(work, patient, "past_history", "高血压 2010", informant=Informant.PATIENT)
    put(work, patient, "past_history", "高血压 2010", "阑尾炎", informant=Informant.RELATIVE)

    rows = live(work, patient, "past_history")
    assert [(row.value, row.informant) for row in rows] == [
        ("高血压 2010", Informant.PATIENT), ("阑尾炎", Informant.RELATIVE),
    ]  # fmt: skip


def test_who_looked_at_other_values_than_stand_is_told_both(work: Work, patient: Patient):
    put(work, patient, "employer", "一厂")
    (seen,) = live(work, patient, "employer")
    put(work, patient, "employer", "二厂")

    with pytest.raises(FieldConflictError) as refused:
        put(work, patient, "employer", "三厂", seen=[seen.id])

    conflict = refused.value
    assert ([row.value for row in conflict.standing], [row.value for row in conflict.seen]) == (
        ["二厂"],
        ["一厂"],
    )
    assert [row.value for row in live(work, patient, "employer")] == ["二厂"]


# ── undoing ─────────────────────────────────────────────────────────────────


def test_an_edit_is_taken_back_whole(work: Work, patient: Patient):
    put(work, patient, "implant", "stent", "iud", asked_on=date(2026, 11, 1))
    act = put(work, patient, "implant", "none")
    assert act is not None

    undo_edit(work, patient_id=patient.id, act_id=act)

    rows = live(work, patient, "implant")
    assert [(row.value, row.asked_on) for row in rows] == [
        ("stent", date(2026, 11, 1)),
        ("iud", date(2026, 11, 1)),
    ]


def test_an_edit_after_which_another_came_is_not_taken_back(work: Work, patient: Patient):
    act = put(work, patient, "employer", "一厂")
    assert act is not None
    put(work, patient, "employer")

    with pytest.raises(ConflictError):
        undo_edit(work, patient_id=patient.id, act_id=act)
    with pytest.raises(NotFoundError):
        undo_edit(work, patient_id=make_patient(work).id, act_id=act)


# ── who may, and what is refused ────────────────────────────────────────────


def test_a_patient_of_another_department_cannot_be_written_to(work: Work, patient: Patient):
    work.actor = actor_of(make_practitioner(work), make_department(work))

    with pytest.raises(DeniedError):
        put(work, patient, "employer", "一厂")


@pytest.mark.parametrize(
    ("code", "values", "field"),
    [
        ("pregnancy", ["perhaps"], "value"),
        ("pregnancy", ["pregnant", "lactating"], "value"),
        ("implant", ["none", "stent"], "value"),
        ("employer", ["长" * 501], "value"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_field(work: Work, patient: Patient, code, values, field):
    with pytest.raises(HcrmError) as refused:
        put(work, patient, code, *values)
    assert refused.value.field == field


def test_nobody_was_asked_tomorrow(work: Work, patient: Patient):
    with pytest.raises(HcrmError) as refused:
        put(work, patient, "pregnancy", "pregnant", asked_on=date(2026, 11, 23))
    assert refused.value.field == "asked_on"


def test_a_field_nobody_published_is_not_there(work: Work, patient: Patient):
    with pytest.raises(NotFoundError):
        put(work, patient, "own_nothing", "x")


def test_both_of_two_merged_answers_stand_until_somebody_decides(work: Work, patient: Patient):
    other = make_patient(work)
    put(work, patient, "employer", "一厂")
    put(work, other, "employer", "二厂")

    merge_patients(work, survivor_id=patient.id, merged_id=other.id, source="test", seq=None)
    assert {row.value for row in live(work, patient, "employer")} == {"一厂", "二厂"}

    put(work, patient, "employer", "二厂")
    assert [row.value for row in live(work, patient, "employer")] == ["二厂"]


def test_no_list_of_a_message_ends_an_allergy_people_entered(work: Work):
    told = {"m": "09:00", "segments": ["AL1|1|DA|P^青霉素|SV|皮疹"]}
    absorb_records(work, arrivals=[Arrival(seq=1, change=change("A01", c=1, **told))])
    patient = work.one(Patient)
    add_allergy(
        work, patient_id=patient.id, text="海鲜", kind="FA", severity="U", reaction="", informant=Informant.PATIENT
    )  # fmt: skip

    absorb_records(
        work,
        arrivals=[Arrival(seq=2, change=change("A08", c=2, m="12:00", segments=["AL1|1|DA|S^磺胺|MO|"]))],
    )

    rows = work.all(Allergy, Allergy.ended_at.is_(None))
    assert {row.text: row.source for row in rows} == {"磺胺": "default", "海鲜": "console"}


# ── rules ───────────────────────────────────────────────────────────────────


def test_an_answer_grows_stale_the_day_after_its_last(work: Work, patient: Patient):
    put(work, patient, "pregnancy", "pregnant", asked_on=date(2026, 9, 22))
    (row,) = live(work, patient, "pregnancy")
    field = published_fields(work).by_code["pregnancy"]

    today = local_date(work.clock.now())
    assert (today - date(2026, 9, 22)).days == 61
    assert stale_since(field, row, today) == 61
    assert stale_since(field, row, date(2026, 11, 21)) is None


NUMBER = PatientField(code="x", title="x", group="x", type=FieldType.NUMBER)


@given(st.decimals(min_value=-99_999, max_value=99_999, places=3))
def test_a_number_is_kept_in_one_form_only(number):
    (kept,) = clean_values(NUMBER, [f" {number:,f} "])

    assert clean_values(NUMBER, [kept]) == [kept]
    assert float(kept) == float(number)


@given(st.text(max_size=40))
def test_a_text_is_kept_or_refused_and_kept_the_same_a_second_time(text):
    field = PatientField(code="x", title="x", group="x", type=FieldType.TEXT)

    kept = clean_values(field, [text])
    assert clean_values(field, kept) == kept


def test_every_shipped_value_that_stands_on_top_has_words():
    for field in SHIPPED.fields:
        if field.header:
            assert all(field.words(value) != value for value in field.header.values)


@pytest.mark.parametrize(
    ("sex", "born", "is_asked"),
    [(Sex.FEMALE, date(1990, 1, 1), True), (Sex.MALE, date(1990, 1, 1), False), (Sex.UNKNOWN, None, True),
     (Sex.FEMALE, date(2016, 11, 23), False), (Sex.FEMALE, date(2016, 11, 22), True), (Sex.FEMALE, None, True),
     (Sex.FEMALE, date(1965, 11, 23), True), (Sex.FEMALE, date(1965, 11, 22), False)],
)  # fmt: skip
def test_pregnancy_is_asked_of_whom_it_can_concern_and_of_whom_nobody_knows(sex, born, is_asked):
    field = next(one for one in SHIPPED.fields if one.code == "pregnancy")

    assert field.is_asked_of(sex, born, date(2026, 11, 22)) is is_asked


def test_what_is_not_asked_of_a_patient_is_refused_and_what_stood_can_be_cleared(
    work: Work, patient: Patient
):
    patient.sex = Sex.FEMALE
    put(work, patient, "pregnancy", "pregnant")
    patient.sex = Sex.MALE  # the sender put the sex right

    with pytest.raises(HcrmError, match="不适用"):
        put(work, patient, "pregnancy", "possible")
    put(work, patient, "pregnancy")

    assert live(work, patient, "pregnancy") == []
