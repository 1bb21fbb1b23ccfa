"""What we tell other systems, as HL7 v2: a finished follow-up as ORU^R01 (chapter 7.3.1). Built and checked by hl7apy.

One OBR per follow-up (OBR-3 is its number here, OBR-25 F, or C where the same one was told before), one OBX for the
way it ended and one per answer (OBX-3 the item's code), a red flag as OBX-8 and as an NTE below its answer.
"""

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final

from hl7apy.consts import VALIDATION_LEVEL  # type: ignore[import-untyped]
from hl7apy.core import Message  # type: ignore[import-untyped]
from hl7apy.exceptions import HL7apyException  # type: ignore[import-untyped]

from hcrm.archive.terms import EncounterClass, Sex
from hcrm.core.destinations import Destination
from hcrm.inbox.outbound_records import (
    AnswerKind,
    AnswerOut,
    Built,
    EncounterOut,
    FollowUpOut,
    NotBuilt,
    PatientOut,
)

SYSTEM: Final = "99HCRM"
"""Name of our coding system (HL7 table 0396: 99 and letters for local ones)."""
CHARSET_WORDS: Final = {"utf-8": "UNICODE UTF-8", "gb18030": "GB 18030-2000"}
"""MSH-18 (HL7 table 0211)."""
_SEXES: Final = {Sex.MALE: "M", Sex.FEMALE: "F", Sex.OTHER: "O", Sex.UNKNOWN: "U"}
_CLASSES: Final = {
    EncounterClass.INPATIENT: "I", EncounterClass.OUTPATIENT: "O", EncounterClass.EMERGENCY: "E",
    EncounterClass.PREADMIT: "P", EncounterClass.CHECKUP: "O", EncounterClass.UNKNOWN: "U",
}  # fmt: skip
_TYPES: Final = {
    AnswerKind.NUMBER: "NM", AnswerKind.CODED: "CE", AnswerKind.DATE: "DT", AnswerKind.TEXT: "TX",
}  # fmt: skip
_ESCAPES: Final = str.maketrans(
    {mark: f"\\{letter}\\" for mark, letter in zip("\\|^~&", "EFSRT", strict=True)}
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PIECE: Final = 180
"""Characters of one repeat of a text; hl7apy takes 199, as ST has until 2.6."""


def build_follow_up(record: FollowUpOut, destination: Destination, control_id: str, now: datetime) -> Built:
    """A finished follow-up as ORU^R01; NotBuilt with segment and field where the standard does not allow it."""
    numbers = _numbers(record.patient, destination)
    if not numbers:
        raise NotBuilt("no_patient_number", "PID-3")
    writer = _Writer(destination)
    try:
        message = Message("ORU_R01", version=destination.version, validation_level=VALIDATION_LEVEL.STRICT)
        writer.header(message.msh, "ORU^R01^ORU_R01", control_id, now)
        result = message.add_group("ORU_R01_PATIENT_RESULT")
        patient = result.add_group("ORU_R01_PATIENT")
        writer.patient(patient.add_segment("PID"), record.patient, numbers)
        writer.visit(patient.add_group("ORU_R01_VISIT").add_segment("PV1"), record.encounter)
        order = result.add_group("ORU_R01_ORDER_OBSERVATION")
        writer.request(order.add_segment("OBR"), record, now)
        for number, answer in enumerate((_outcome(record), *record.answers), 1):
            writer.answer(order.add_group("ORU_R01_OBSERVATION"), number, answer, record)
        message.validate()
        text = message.to_er7()
    except HL7apyException as error:
        raise NotBuilt("not_valid", f"{writer.place} {type(error).__name__}") from error
    return Built("ORU^R01", text.encode(destination.charset))


def _outcome(record: FollowUpOut) -> AnswerOut:
    """How the follow-up ended, as the first observation."""
    value = (record.outcome_code, record.outcome_label)
    return AnswerOut("outcome", "随访结果", AnswerKind.CODED, (value,))


def _numbers(patient: PatientOut, destination: Destination) -> list[str]:
    """PID-3 repeats: those the destination asks for in its order, else all."""
    numbers = list(patient.numbers)
    if destination.authorities:
        wanted = destination.authorities
        numbers = [each for each in numbers if each.authority in wanted]
        numbers.sort(key=lambda each: wanted.index(each.authority))
    return [_joined(each.value, "", "", each.authority, each.type or "MR") for each in numbers]


class _Writer:
    """Fills segments; `place` is where it was when something was refused."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self.place = ""

    def header(self, msh: Any, kind: str, control_id: str, now: datetime) -> None:
        """MSH (chapter 2.14.9); MSH-7 with offset, since both sides' clocks are compared by it."""
        to = self._destination
        wanted = ("AL", "NE") if to.ack_mode == "enhanced" else ("", "")
        self._fill(msh, "MSH", {
            3: to.sending_application, 4: to.sending_facility, 5: to.receiving_application, 6: to.receiving_facility,
            7: self._moment(now), 9: kind, 10: control_id, 11: to.processing_id, 15: wanted[0], 16: wanted[1],
            18: to.charset_word or CHARSET_WORDS[to.charset],
        })  # fmt: skip

    def patient(self, pid: Any, patient: PatientOut, numbers: list[str]) -> None:
        """PID: numbers, name, birth date and sex; nothing that reaches a person."""
        self._fill(pid, "PID", {
            1: "1", 3: numbers, 5: _joined(patient.name), 7: _day(patient.birth_date), 8: _SEXES[patient.sex],
        })  # fmt: skip

    def visit(self, pv1: Any, encounter: EncounterOut) -> None:
        """PV1 of the stay that was followed up."""
        number = _joined(encounter.visit_no or "", "", "", encounter.authority if encounter.visit_no else "")
        self._fill(pv1, "PV1", {
            1: "1", 2: _CLASSES[encounter.encounter_class], 3: _joined(encounter.department_code), 19: number,
            44: self._moment(encounter.admitted_at), 45: self._moment(encounter.discharged_at),
        })  # fmt: skip

    def request(self, obr: Any, record: FollowUpOut, now: datetime) -> None:
        """OBR: which follow-up, by which form, when; F final, C a correction of what was told before."""
        self._fill(obr, "OBR", {
            1: "1", 3: _joined(record.instruction_id, self._destination.sending_application),
            4: _coded(record.form_code, record.form_title), 7: self._moment(record.done_at),
            13: _pieces(record.step_title)[:1], 22: self._moment(now), 25: "C" if record.is_correction else "F",
        })  # fmt: skip

    def answer(self, group: Any, number: int, answer: AnswerOut, record: FollowUpOut) -> None:
        """OBX with its flags; every repeat of a text is a line of its own (TX, chapter 2A.3.78)."""
        flag = ("AA" if any(each.is_urgent for each in answer.flags) else "A") if answer.flags else ""
        status = "C" if record.is_correction else "F"
        self._fill(group.add_segment("OBX"), "OBX", {
            1: str(number), 2: _TYPES[answer.kind], 3: _coded(answer.code, answer.label),
            5: list(_values(answer)), 6: _joined(answer.unit), 8: flag, 11: status,
            14: self._moment(record.done_at), 16: _joined("", record.author_name) if record.author_name else "",
        })  # fmt: skip
        for place, each in enumerate(answer.flags, 1):
            note = _pieces(f"{each.level} {each.code}: {each.text}")
            self._fill(group.add_segment("NTE"), "NTE", {1: str(place), 3: note})

    def _fill(self, segment: Any, name: str, fields: dict[int, str | list[str]]) -> None:
        for number, value in fields.items():
            self.place = f"{name}-{number}"
            repeats = [value] if isinstance(value, str) else value
            for index, text in enumerate(repeats):
                if not text:
                    continue
                if index == 0:
                    setattr(segment, f"{name.lower()}_{number}", text)
                else:
                    segment.add_field(f"{name}_{number}").value = text

    def _moment(self, moment: datetime | None) -> str:
        return moment.astimezone(self._destination.zoneinfo).strftime("%Y%m%d%H%M%S%z") if moment else ""


def _values(answer: AnswerOut) -> Iterable[str]:
    """OBX-5 repeats."""
    for code, label in answer.values:
        if answer.kind is AnswerKind.CODED:
            yield _coded(code, label)
        elif answer.kind is AnswerKind.TEXT:
            yield from _pieces(code)
        else:
            yield code.replace("-", "") if answer.kind is AnswerKind.DATE else code


def _pieces(text: str) -> list[str]:
    """Lines of a text, long ones cut, each escaped. An escape is never cut in two."""
    found = []
    for line in text.splitlines():
        piece = ""
        for char in line:
            written = _escaped(char)
            if len(piece) + len(written) > _PIECE:
                found.append(piece)
                piece = ""
            piece += written
        if piece.strip():
            found.append(piece)
    return found


def _coded(code: str, label: str) -> str:
    """CE: the code counts, a label that is a whole sentence is cut."""
    return "^".join((_escaped(code), "".join(_pieces(label)[:1]), SYSTEM))


def _joined(*components: str) -> str:
    return "^".join(_escaped(each) for each in components).rstrip("^")


def _escaped(text: str) -> str:
    """Delimiters as escapes (chapter 2.7); what no segment may hold becomes a blank."""
    return _CONTROL.sub(" ", text).translate(_ESCAPES)


def _day(day: date | None) -> str:
    return day.strftime("%Y%m%d") if day else ""
