"""MFN^M02 to the staff list (HL7 2.9 section 8.7): MFE, STF, PRA. Pure; nobody is ever deleted by it."""

from adapters.his.clinical_reading import Reading, first
from adapters.his.map_patient import person_name
from adapters.hl7v2 import Message
from hcrm.archive.clinical.records import StaffRecord
from hcrm.archive.records import Unmapped

_LEFT = frozenset({"MDL", "MDC"})  # MFE-1, HL7 table 0180: delete, deactivate


def map_staff(reading: Reading) -> tuple[StaffRecord, ...] | Unmapped:
    """Every MFE group is one person; the last word on a person counts."""
    found: dict[str, StaffRecord] = {}
    for group in reading.message.groups("MFE"):
        record = _person(group, reading)
        if record is None:
            reading.flags.append("unmapped:STF-1")
        else:
            found[record.code] = record
    return tuple(found.values()) or Unmapped("no_staff_number", "STF-1")


def _person(group: Message, reading: Reading) -> StaffRecord | None:
    mfe, stf = group.segment("MFE"), group.segment("STF")
    code = first(stf.text(2), stf.text(1), mfe.text(4))
    if not code:
        return None
    department = stf.text(8)
    act, state = mfe.text(1), stf.text(7).upper()
    is_active: bool | None = None
    if act in _LEFT or state in ("I", "0", "N"):
        is_active = False
    elif act in ("MAC", "MAD") or state in ("A", "1", "Y"):
        is_active = True
    return StaffRecord(
        code=code,
        name=person_name(stf.text(3), stf.text(3, 2)) or None,
        title=first(stf.text(18), group.segment("PRA").text(3, 2), group.segment("PRA").text(3)) or None,
        department_code=reading.source.departments.get(department, department) or None,
        department_name=stf.text(8, 2) or None,
        is_active=is_active,
    )
