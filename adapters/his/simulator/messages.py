"""Messages as a Chinese HIS writes them: HL7 v2.4 from templates of our own, no library.

Layout as Chinese senders have it: local time without an offset, the whole name in PID-5.1, the address as text in
PID-11.1 with the county's code in PID-11.9, the department's code in PV1-3.1, MSH-15/16 empty (original mode).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from adapters.his.simulator.arrivals import Calendar
from adapters.his.simulator.clinical import KINDS as CLINICAL_KINDS
from adapters.his.simulator.clinical import WITHOUT_VISIT, clinical_segments
from adapters.his.simulator.people import Person
from adapters.his.simulator.stays import Stay, Step

STRUCTURES = {
    "A01": "ADT_A01",
    "A02": "ADT_A02",
    "A03": "ADT_A03",
    "A04": "ADT_A01",
    "A08": "ADT_A01",
    "A11": "ADT_A09",
    "A13": "ADT_A01",
    "A28": "ADT_A05",
    "A31": "ADT_A05",
    "A40": "ADT_A39",
}
"""MSH-9.3 by event: HL7 v2.4, chapter 3."""

_REGISTRATION = "9001"  # the staff number of the registration desk, EVN-5


class SimulatedMessage(NamedTuple):
    """A message and what it is; `at` is when it is to be sent, `visit` empty where it concerns none."""

    at: datetime
    event: str
    raw: bytes
    patient: str
    visit: str


@dataclass(frozen=True, slots=True)
class Sender:
    """A sending system: MSH-3, MSH-4, its character set, and whether it pads names as old systems do."""

    application: str = "HIS"
    facility: str = "H1"
    charset: str = "UNICODE UTF-8"  # MSH-18
    encoding: str = "utf-8"
    pads_names: bool = False

    def staff_name(self, name: str) -> str:
        """A physician's name; two characters are drawn apart where the system pads (`张  晋`)."""
        return f"{name[0]}  {name[1]}" if self.pads_names and len(name) == 2 else name


SECOND_SENDER = Sender("HIS2", "H1", "GB 18030-2000", "gb18030", pads_names=True)


class Writer:
    """Writes the messages of one sender."""

    def __init__(self, calendar: Calendar, sender: Sender, receiver: str = "HCRM", *, seed: int = 0) -> None:
        self._seed = seed
        self._stamp = calendar.stamp
        self._sender = sender
        self._head = f"MSH|^~\\&|{sender.application}|{sender.facility}|{receiver}|{sender.facility}|"
        self._tail = f"|P|2.4|||||CHN|{sender.charset}\r"
        self._authority = sender.facility

    def write(self, step: Step, number: int) -> bytes:
        """The message of a step; `number` makes MSH-10 unique among those of the same second."""
        event, stay = step.event, step.stay
        if event in CLINICAL_KINDS:
            return self._encode([*self._clinical(step, number)])
        parts = [self._start(event, step, number)]
        if event == "A40":
            parts += [self._pid(stay, stay.person.number), f"MRG|{stay.number}^^^{self._authority}^MR\r"]
            return self._encode(parts)
        parts.append(self._pid(stay, stay.number))
        if event not in ("A02", "A03", "A11", "A13"):
            parts.append(self._nk1(stay.person))
        # v2.4 wants a PV1 in A28 and A31 too; N: not applicable (table 0004).
        parts.append("PV1|1|N\r" if event in ("A28", "A31") else self._pv1(stay))
        if event in ("A01", "A04", "A08", "A28", "A31") and stay.person.allergy:
            parts.append(self._al1(stay.person.allergy))
        if event in ("A01", "A03", "A08", "A13"):
            parts.append(self._dg1(stay, step))
            if stay.operation and stay.operation[1] <= step.happened:
                parts.append(self._pr1(stay))
        return self._encode(parts)

    def _clinical(self, step: Step, number: int) -> Iterator[str]:
        """A message of the laboratory, the pharmacy, the ward or the booking desk."""
        stay, event = step.stay, step.event
        sent = self._stamp(step.sent)
        yield f"{self._head}{sent}||{CLINICAL_KINDS[event]}|{sent}{number % 1_000_000:06d}{self._tail}"
        if event == "T02":
            yield f"EVN|T02|{sent}\r"
        by = f"{stay.attending.code}^{self._sender.staff_name(stay.attending.name)}"
        segments = clinical_segments(self._seed, step, self._stamp, by)
        patient = self._pid(stay, stay.number)
        if event in WITHOUT_VISIT:  # a booking names the patient after its schedule (SIU_S12)
            head, _, rest = segments.partition("\r")
            yield f"{head}\r{patient}{rest}"
        else:
            yield f"{patient}{self._pv1(stay)}{segments}"

    def write_malformed(self, step: Step, number: int) -> bytes:
        """An A08 that has lost its PID."""
        return self._encode([self._start("A08", step, number), self._pv1(step.stay)])

    def _encode(self, parts: list[str]) -> bytes:
        return "".join(parts).encode(self._sender.encoding)

    def _start(self, event: str, step: Step, number: int) -> str:
        sent, happened = self._stamp(step.sent), self._stamp(step.happened)
        clerk = _REGISTRATION if event in ("A28", "A31", "A40") else step.stay.attending.code
        return (
            f"{self._head}{sent}||ADT^{event}^{STRUCTURES[event]}|{sent}{number % 1_000_000:06d}{self._tail}"
            f"EVN|{event}|{sent}|||{clerk}|{happened}\r"
        )

    def _pid(self, stay: Stay, number: str) -> str:
        person = stay.person
        identity = f"~{person.id_number}^^^PRC^NI" if person.id_number else ""
        died = (
            f"|||||||{self._stamp(stay.discharged)}|Y"
            if stay.is_death and stay.discharged is not None
            else ""
        )
        return (
            f"PID|1||{number}^^^{self._authority}^MR{identity}||{person.name}||{person.birth}|{person.sex}|||"
            f"{person.address}||{person.phones}|||{person.marital}||||||{person.ethnicity}{died}\r"
        )

    @staticmethod
    def _nk1(person: Person) -> str:
        kin = person.kin
        return f"NK1|1|{kin.name}|{kin.relation}||{kin.phone}^PRN^CP\r"

    @staticmethod
    def _al1(allergy: tuple[str, str, str]) -> str:
        kind, code, reaction = allergy
        return f"AL1|1|{kind}|{code}||{reaction}\r"

    def _pv1(self, stay: Stay) -> str:
        attending = f"{stay.attending.code}^{self._sender.staff_name(stay.attending.name)}"
        is_out = stay.discharged is not None
        return (
            f"PV1|1|{stay.kind}|{stay.location}||||{attending}|||{stay.department.specialty}|||||||{attending}||"
            f"{stay.visit}^{stay.count}^^{self._authority}^VN|{stay.person.payment}||||||||||||||||"
            f"{stay.way if is_out else ''}||||||||{self._stamp(stay.admitted)}|"
            f"{self._stamp(stay.discharged) if stay.discharged is not None else ''}\r"
        )

    def _dg1(self, stay: Stay, step: Step) -> str:
        """The diagnoses told so far: admitting, working, final; DG1-15 = 1 flags the main one."""
        is_final = step.event == "A03" or stay.kind != "I"
        kind = "F" if is_final else "A" if step.event == "A01" else "W"
        at = self._stamp(step.happened)
        by = f"{stay.attending.code}^{self._sender.staff_name(stay.attending.name)}"
        return "".join(
            f"DG1|{rank}||{code}^{text}^ICD-10||{at}|{kind}|||||||||{rank}|{by}\r"
            for rank, (code, text) in enumerate(stay.diagnoses[: stay.shown], start=1)
        )

    def _pr1(self, stay: Stay) -> str:
        assert stay.operation is not None
        (code, text), at = stay.operation
        by = f"{stay.attending.code}^{self._sender.staff_name(stay.attending.name)}"
        return f"PR1|1||{code}^{text}^ICD-9-CM-3||{self._stamp(at)}||||||{by}\r"
