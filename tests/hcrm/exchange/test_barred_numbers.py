"""Numbers nobody may call: of nobody yet, of a relative, of who comes later; and what takes them back."""

import pytest

from followup.queries import first_phones, list_phones
from hcrm.archive.arrivals import Arrival
from hcrm.archive.events import PatientsTouched
from hcrm.archive.models import Patient, RelatedPerson
from hcrm.archive.reach.barred_numbers import stop_touched
from hcrm.archive.reach.consent import Barrier, may_contact
from hcrm.archive.reach.contact_stop import live_stops, restore_contact
from hcrm.archive.reach.numbers import add_number, free_number, list_callable
from hcrm.archive.reach_models import BarredNumber, ContactMeans, ContactPurpose
from hcrm.archive.service import absorb_records
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from hcrm.exchange.models import ImportRun
from hcrm.exchange.queries import RowFilter, list_rows
from tests.hcrm.exchange.test_patients_import import known_patient
from tests.support.changes import change
from tests.support.importing import Intake, csv_file

NUMBER, OTHER = "13900139000", "13800138000"
HEADS = ("手机号", "原因")
LIST = csv_file(HEADS, (NUMBER, "本人要求"))


def comes(work: Work, *, seq: int = 1, phone: str = NUMBER, kind: str = "A01") -> None:
    """A message tells a patient with that number."""
    absorb_records(work, arrivals=[Arrival(seq=seq, change=change(kind, c=seq, m=f"08:0{seq}", phone=phone))])
    stop_touched(work, [fact for fact in work.events if isinstance(fact, PatientsTouched)])


def gate(work: Work) -> Barrier | None:
    patient = work.one(Patient)
    asked = may_contact(
        work, patient_ids=[patient.id], purpose=ContactPurpose.CARE, channel=ContactMeans.CALL
    )
    return asked[patient.id]


def relative(work: Work) -> str:
    """The daughter of a known patient has the number."""
    patient = known_patient(work)
    work.add(
        RelatedPerson(
            id=work.new_id(), patient_id=patient.id, rank=1, name="李红", relation="女儿",
            phone_sealed=work.keys.seal_text(f"+86{NUMBER}"), phone_index=work.keys.blind("phone", f"+86{NUMBER}"),
            phone_last4_index="x", source="his", as_of=work.clock.now(), seq=1, ended_at=None,
        )
    )  # fmt: skip
    return patient.id


def told(intake: Intake, run_id: str) -> str:
    """What the dry run says of its first row."""

    def read(work: Work) -> str:
        run = work.get(ImportRun, run_id)
        _, (line,) = list_rows(work, run, intake.importers["do_not_call"], RowFilter())
        assert line.finding is not None
        return "".join(change.after for change in line.finding.changes)

    return str(intake.work(read))


def test_a_number_of_nobody_is_kept_and_stops_the_patient_who_comes_with_it(intake: Intake) -> None:
    checked = intake.check("do_not_call", LIST)
    assert checked.counts == {"new": 1}
    assert "现在没有人用这个号码" in told(intake, checked.id)
    intake.go(checked.id)
    kept = intake.work(lambda work: work.one(BarredNumber))
    assert NUMBER.encode() not in kept.value_sealed

    intake.work(comes)

    assert intake.work(gate) is Barrier.DO_NOT_CONTACT
    patient = intake.work(lambda work: work.one(Patient).id)
    (stop,) = intake.work(lambda work: live_stops(work, patient))
    assert (stop.reason, stop.number_id) == ("本人要求", kept.id)
    assert intake.check("do_not_call", LIST).counts == {"same": 1}


def test_whoever_takes_contact_up_again_is_not_stopped_by_the_next_message(intake: Intake) -> None:
    intake.take_in("do_not_call", LIST)
    intake.work(comes)
    patient = intake.work(lambda work: work.one(Patient).id)
    intake.clock.move(hours=1)
    intake.work(lambda work: restore_contact(work, patient_id=patient, reason="本人来电同意"))

    intake.work(lambda work: comes(work, seq=2, kind="A08"))

    assert intake.work(gate) is None


def test_a_revert_lets_those_go_who_came_after_the_import(intake: Intake) -> None:
    run = intake.take_in("do_not_call", LIST)
    intake.work(comes)

    intake.revert(run.id)

    assert intake.work(lambda work: work.all(BarredNumber)) == []
    assert intake.work(gate) is None
    intake.work(lambda work: comes(work, seq=2, kind="A08"))
    assert intake.work(gate) is None


def test_a_number_added_by_hand_is_looked_up_too(intake: Intake) -> None:
    intake.take_in("do_not_call", LIST)
    intake.work(known_patient)
    assert intake.work(gate) is None

    intake.work(lambda work: add_number(work, patient_id=work.one(Patient).id, number=NUMBER))

    assert intake.work(gate) is Barrier.DO_NOT_CONTACT


def test_a_relatives_number_is_somebodys_and_is_not_dialled(intake: Intake) -> None:
    patient = intake.work(relative)
    before = intake.dump()
    checked = intake.check("do_not_call", LIST)
    assert "张三的女儿 李红" in told(intake, checked.id)

    run = intake.go(checked.id)

    assert intake.work(gate) is None  # the patient asked for nothing
    (phone,) = intake.work(lambda work: list_phones(work, patient_id=patient))
    assert phone.not_dialled == "在请勿联系名单上"
    assert intake.work(lambda work: list_callable(work, patient)) == []
    intake.revert(run.id)
    assert intake.dump() == before
    assert intake.work(lambda work: len(list_callable(work, patient))) == 1


def test_a_number_people_free_is_dialled_again_and_contact_stays_theirs_to_take_up(intake: Intake) -> None:
    intake.take_in("do_not_call", LIST)
    intake.work(comes)
    patient = intake.work(lambda work: work.one(Patient).id)
    assert intake.work(lambda work: first_phones(work, [patient])[patient].not_dialled) == "在请勿联系名单上"
    key = intake.work(lambda work: list_phones(work, patient_id=patient)[0].id)

    def free(work: Work) -> None:
        free_number(work, patient_id=patient, kind="contact", key=key, reason="号码已换机主")

    intake.work(free)

    assert intake.work(lambda work: first_phones(work, [patient])[patient].not_dialled) == ""
    assert intake.work(gate) is Barrier.DO_NOT_CONTACT
    with pytest.raises(HcrmError, match="不在请勿联系名单上"):
        intake.work(free)


def test_a_row_that_names_a_person_bars_no_number(intake: Intake) -> None:
    intake.work(known_patient)
    intake.take_in("do_not_call", csv_file(("病案号", "姓名", *HEADS), ("1001", "张三", NUMBER, "本人要求")))

    assert intake.work(lambda work: work.all(BarredNumber)) == []
