"""What people write while two archives are one, and what they write in the very moment the two become one."""

from collections.abc import Callable
from typing import Any

import pytest

from hcrm.archive.events import ContactStopped
from hcrm.archive.fields.allergies import add_allergy
from hcrm.archive.fields.models import PatientNote, PatientTag
from hcrm.archive.fields.notes import add_note
from hcrm.archive.fields.service import set_field, standing_values
from hcrm.archive.fields.tags import add_tag, list_tags, remove_tag
from hcrm.archive.identity.service import part_merged, sort_left
from hcrm.archive.merge.service import merge_patients, patient_columns
from hcrm.archive.models import Address, Allergy, PatientMerge, RelatedPerson
from hcrm.archive.parting.service import undo_merge
from hcrm.archive.parting.since_merge import WRITTEN, came_meanwhile
from hcrm.archive.reach.consent_records import list_consents, record_consents
from hcrm.archive.reach.contact_stop import end_contact, live_stops, restore_contact
from hcrm.archive.reach.disclosure import list_disclosures, set_disclosure
from hcrm.archive.reach.people import put_address, put_relative
from hcrm.archive.reach_models import (
    ConsentDecision,
    ContactMeans,
    ContactPurpose,
    DisclosureState,
    StopKind,
)
from hcrm.archive.terms import BY_PEOPLE, Informant
from hcrm.core.tables import load_tables
from hcrm.core.work import Work, open_work
from hcrm.segments.loss import loss_of, set_loss_reason
from hcrm.segments.models import PatientLoss
from tests.support.builders import centre_actor, make_patient, publish_fields
from tests.support.interleaved import just_before_our_lock

CARE, SMS = ContactPurpose.CARE, ContactMeans.SMS
GRANTED, REFUSED, _ = ConsentDecision
SELF = Informant.PATIENT
Chosen = dict[str, list[str]]


def write_everything(work: Work, patient_id: str, word: str, decision: ConsentDecision) -> None:
    """One of each thing people write of a patient, in the place of what stood."""
    record_consents(work, patient_id=patient_id, decisions={(CARE, SMS): decision}, evidence=word)
    set_disclosure(
        work,
        patient_id=patient_id,
        state=DisclosureState.CONFIDENTIAL,
        contact_name=word,
        contact_relation="子",
    )
    set_field(work, patient_id=patient_id, field_code="employer", values=[word])
    set_loss_reason(work, patient_id=patient_id, reason="moved", note=word)
    for tag in list_tags(work, patient_id):
        remove_tag(work, patient_id=patient_id, tag_id=tag.id)
    add_tag(work, patient_id=patient_id, tag=word)
    work.flush()
    work.session.expire_all()
    work.clock.move(minutes=1)


def written(work: Work, patient_id: str) -> dict[str, Any]:
    """What stands of it."""
    loss = loss_of(work, patient_id)
    return {
        "consent": [(row.decision, row.evidence) for row in list_consents(work, patient_id, only_live=True)],
        "disclosure": [row.contact_name for row in list_disclosures(work, patient_id, only_live=True)],
        "field": [row.value for row in standing_values(work, patient_id).get("employer", ())],
        "loss": loss and loss.note,
        "tags": [row.tag for row in list_tags(work, patient_id)],
        "stops": [row.reason for row in live_stops(work, patient_id)],
    }


def by_hand(work: Work, merge_id: str, chosen: Chosen) -> None:
    part_merged(work, merge_id=merge_id, reason="不是同一人", chosen=chosen)


def by_message(work: Work, merge_id: str, chosen: Chosen) -> None:
    assert undo_merge(work, merge_id=merge_id, source="his") is None
    work.flush()
    sort_left(work, merge_id=merge_id, chosen=chosen)


@pytest.mark.parametrize("part", [by_hand, by_message])
@pytest.mark.parametrize("is_given", [False, True])
def test_one_archive_has_what_was_written_meanwhile_and_the_other_is_as_before(
    work: Work, part: Callable[..., None], is_given: bool
):
    publish_fields(work)
    survivor, merged = make_patient(work).id, make_patient(work).id
    write_everything(work, survivor, "甲", GRANTED)
    write_everything(work, merged, "乙", REFUSED)
    end_contact(work, patient_id=merged, kind=StopKind.DO_NOT_CONTACT, reason="乙")
    was = {key: written(work, key) for key in (survivor, merged)}
    merge_id = merge_patients(work, survivor_id=survivor, merged_id=merged, source=BY_PEOPLE, seq=None)
    work.clock.move(minutes=1)
    restore_contact(work, patient_id=survivor, reason="丙")
    write_everything(work, survivor, "丙", GRANTED)
    meanwhile = written(work, survivor)
    assert (meanwhile["consent"], meanwhile["tags"], meanwhile["stops"]) == ([(GRANTED, "丙")], ["丙"], [])

    rows = came_meanwhile(work, work.get(PatientMerge, merge_id))
    chosen: Chosen = {}
    for row in rows if is_given else ():
        chosen.setdefault(row.table, []).append(row.id)
    work.events.clear()
    part(work, merge_id, chosen)
    stopped = [fact for fact in work.events if isinstance(fact, ContactStopped)]
    work.flush()
    work.session.expire_all()

    now = {key: written(work, key) for key in (survivor, merged)}
    if is_given:
        # A tag takes no other's place: what was taken off stays off with who went on, and comes back with who parts.
        assert now[survivor] == was[survivor] | {"tags": []}
        assert now[merged] == meanwhile | {"tags": ["乙", "丙"], "stops": ["乙"]}
    else:
        assert now[merged] == was[merged]
        assert now[survivor] == meanwhile
    if part is by_hand:
        assert [fact.patient_id for fact in stopped] == [merged]


def test_what_came_while_somebody_looked_at_the_page_waits_to_be_looked_through(work: Work):
    survivor, merged = make_patient(work).id, make_patient(work).id
    merge_id = merge_patients(work, survivor_id=survivor, merged_id=merged, source=BY_PEOPLE, seq=None)
    add_tag(work, patient_id=survivor, tag="先")
    seen = [row.name for row in came_meanwhile(work, work.get(PatientMerge, merge_id))]
    add_tag(work, patient_id=survivor, tag="后")

    part_merged(work, merge_id=merge_id, reason="不是同一人", chosen={}, seen=seen)

    (late,) = work.all(PatientTag, PatientTag.tag == "后")
    assert work.get(PatientMerge, merge_id).left == {"patient_tag": [late.id]}
    sort_left(work, merge_id=merge_id, chosen={"patient_tag": [late.id]})
    work.session.expire_all()
    assert work.get(PatientTag, late.id).patient_id == merged


# ── in the very moment ──────────────────────────────────────────────────────


@pytest.mark.parametrize("act", ["tag", "note", "loss"])
def test_who_writes_of_an_archive_while_it_is_merged_writes_of_the_survivor(database, clock, write, act):
    survivor, merged = write(lambda work: (make_patient(work).id, make_patient(work).id))
    acts: dict[str, Callable[[Work], Any]] = {
        "tag": lambda work: add_tag(work, patient_id=merged, tag="过敏体质"),
        "note": lambda work: add_note(work, patient_id=merged, text="家属来电"),
        "loss": lambda work: set_loss_reason(work, patient_id=merged, reason="moved"),
    }

    def merge() -> None:
        write(lambda work: merge_patients(
            work, survivor_id=survivor, merged_id=merged, source=BY_PEOPLE, seq=None))  # fmt: skip

    with (
        just_before_our_lock(database, merge),
        open_work(database, actor=centre_actor(), clock=clock) as work,
    ):
        acts[act](work)

    def owners(work: Work) -> set[str]:
        return {row.patient_id for model in (PatientTag, PatientNote, PatientLoss) for row in work.all(model)}

    assert write(owners) == {survivor}


def admit_to_merged(work: Work) -> tuple[str, str, str, Chosen]:
    """Somebody without allergies is merged into another by mistake, and asked again meanwhile."""
    publish_fields(work)
    survivor, merged = make_patient(work).id, make_patient(work).id
    set_field(work, patient_id=merged, field_code="allergy_state", values=["none_known"])
    old = put_relative(
        work, patient_id=merged, name="李红", informant=SELF, relation="女", phone="13900001234"
    )
    work.clock.move(minutes=1)
    merge_id = merge_patients(work, survivor_id=survivor, merged_id=merged, source=BY_PEOPLE, seq=None)
    assert merge_id
    work.clock.move(minutes=1)
    work.session.expire_all()
    drug = add_allergy(
        work, patient_id=merged, text="青霉素", kind="DA", severity="SV", reaction="休克", informant=SELF
    )
    kin = put_relative(
        work,
        patient_id=merged,
        replaces_id=old,
        name="李红",
        informant=SELF,
        relation="女",
        phone="13900005678",
    )
    home = put_address(work, patient_id=merged, use="home", informant=SELF, text="某路一号")
    work.flush()
    work.session.expire_all()
    work.clock.move(minutes=1)
    return survivor, merged, merge_id, {"allergy": [drug], "related_person": [kin], "address": [home]}


def stands(work: Work, patient_id: str) -> list[Any]:
    """Allergies, the answer about them, relatives, addresses."""

    def live(model: type[Any]) -> list[Any]:
        return work.all(model, model.patient_id == patient_id, model.ended_at.is_(None))

    answers = [row.value for row in standing_values(work, patient_id).get("allergy_state", ())]
    phones = [work.keys.open_text(row.phone_sealed or b"")[-4:] for row in live(RelatedPerson)]
    return [[row.text for row in live(Allergy)], answers, phones, len(live(Address))]


@pytest.mark.parametrize("part", [by_hand, by_message])
def test_allergies_relatives_and_addresses_written_meanwhile_go_where_a_person_says(
    work: Work, part: Callable[[Work, str, Chosen], None]
):
    survivor, merged, merge_id, chosen = admit_to_merged(work)
    shown = {row.table: row.words for row in came_meanwhile(work, work.get(PatientMerge, merge_id))}
    assert shown == {
        "allergy": "过敏：青霉素",
        "related_person": "联系人：李红 女",
        "address": "地址：住址",
    }

    part(work, merge_id, chosen)

    work.session.expire_all()
    assert stands(work, merged) == [["青霉素"], [], ["5678"], 1]
    assert stands(work, survivor) == [[], [], [], 0]


def test_an_allergy_nobody_has_sorted_yet_leaves_neither_archive_with_none_known(work: Work):
    survivor, merged, merge_id, _ = admit_to_merged(work)

    assert undo_merge(work, merge_id=merge_id, source="his") is None

    work.session.expire_all()
    assert stands(work, survivor)[:2] == [["青霉素"], []]
    assert stands(work, merged) == [[], [], ["1234"], 0]
    assert set(work.get(PatientMerge, merge_id).left or {}) == {"allergy", "related_person", "address"}


GOES_BY_ITSELF = {
    "patient": "the archives themselves",
    "patient_history": "what messages said of the archive they named",
    "patient_identifier": "numbers go by the merge, and by messages",
    "patient_link": "two archives, not one",
    "encounter": "sorted beside the tables people write",
    "observation": "hangs on its report",
    "contact_recording": "hangs on its contact",
    "patient_note_former": "hangs on its note",
    "death_list_entry": "a line of a list, with a page of its own",
    "import_row": "what a file said then",
    "care_gap": "looked for anew every night",
    "stay_profile": "made anew of its stay",
}
"""Tables of patients whose rows no person sorts when a merge is undone, and why."""


def test_every_table_of_patients_is_sorted_at_a_parting_or_it_is_said_why_not():
    load_tables()
    of_patients = {column.table.name for column in patient_columns() if "encounter_id" not in column.table.c}
    assert of_patients - set(WRITTEN) == set(GOES_BY_ITSELF)
