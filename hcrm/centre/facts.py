"""What is known of a stay when it is sorted and a protocol is chosen: plain values, a closed list of names."""

import re
from dataclasses import dataclass, field
from enum import Enum, auto

from hcrm.archive.codes import normal_codes as normal_codes
from hcrm.core.text import half_width

DIED = "5"
"""离院方式 (CV06.00.226): 1 by order, 2 transfer by order, 3 to a community site, 4 against advice, 5 died, 9 other."""

_MUNICIPALITIES = ("11", "12", "31", "50")
_REGION = re.compile(r"[1-9][0-9]{5}")


def normal_name(raw: str) -> str:
    """A department's name in comparable form."""
    return "".join(half_width(raw).split()).upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class StayFacts:
    """A stay as rules see it. Codes and names are made comparable here, so that nobody can forget to.

    `department_specialty` is what the directory says of the department, `specialty` what the rules made of it.
    `diagnosis_codes` and `procedure_codes` hold ICD-10 and ICD-9-CM-3 only, as they were sent, main diagnosis first:
    TCM codes (GB/T 15657) look alike and mean something else.
    """

    encounter_class: str | None = None
    discharge_way: str | None = None
    department_code: str | None = None
    department_name: str | None = None
    department_specialty: str | None = None
    diagnosis_codes: tuple[str, ...] = ()
    procedure_codes: tuple[str, ...] = ()
    region_code: str | None = None
    home_region: str | None = None
    age_years: int | None = None
    sex: str | None = None
    specialty: str | None = None
    disease_groups: tuple[str, ...] = ()
    main_disease_group: str | None = None
    region: str | None = None
    main_diagnosis: tuple[str, ...] = field(init=False)
    diagnoses: tuple[str, ...] = field(init=False)
    procedures: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Derive the comparable forms."""
        put = object.__setattr__  # the instance is frozen
        put(self, "main_diagnosis", normal_codes(self.diagnosis_codes[0]) if self.diagnosis_codes else ())
        put(self, "diagnoses", tuple(code for raw in self.diagnosis_codes for code in normal_codes(raw)))
        put(self, "procedures", tuple(code for raw in self.procedure_codes for code in normal_codes(raw)))
        put(self, "department_name", normal_name(self.department_name) if self.department_name else None)

    @property
    def region_relation(self) -> str | None:
        """How near the patient lives to the hospital, by their GB/T 2260 codes."""
        there, here = (self.region_code or "")[:6], (self.home_region or "")[:6]
        if not (_REGION.fullmatch(there) and _REGION.fullmatch(here)):
            return None
        if there == here:
            return "same_county"
        if _city(there) == _city(here):
            return "same_city"
        return "same_province" if there[:2] == here[:2] else "other_province"


def _city(code: str) -> str:
    """The city's part: a municipality is one city, and a county directly under its province (`90`) is its own."""
    if code[:2] in _MUNICIPALITIES:
        return code[:2]
    return code if code[2:4] == "90" else code[:4]


class FactKind(Enum):
    """Which comparisons make sense for a fact."""

    WORD = auto()
    NAME = auto()
    DIAGNOSIS = auto()
    PROCEDURE = auto()
    DIGITS = auto()
    NUMBER = auto()


@dataclass(frozen=True)
class Fact:
    """One name of the vocabulary: its kind, where it stands in `StayFacts`, and its words where they are closed."""

    kind: FactKind
    attribute: str
    words: tuple[str, ...] = ()
    many: bool = False


FACTS: dict[str, Fact] = {
    "encounter.class": Fact(
        FactKind.WORD, "encounter_class", ("inpatient", "outpatient", "emergency", "preadmit", "checkup")
    ),
    "discharge.way": Fact(FactKind.WORD, "discharge_way", ("1", "2", "3", "4", "5", "9")),
    "department.code": Fact(FactKind.WORD, "department_code"),
    "department.name": Fact(FactKind.NAME, "department_name"),
    "department.specialty": Fact(FactKind.WORD, "department_specialty"),
    "diagnosis.code": Fact(FactKind.DIAGNOSIS, "diagnoses", many=True),
    "diagnosis.main_code": Fact(FactKind.DIAGNOSIS, "main_diagnosis", many=True),
    "procedure.code": Fact(FactKind.PROCEDURE, "procedures", many=True),
    "region.code": Fact(FactKind.DIGITS, "region_code"),
    "region.relation": Fact(
        FactKind.WORD, "region_relation", ("same_county", "same_city", "same_province", "other_province")
    ),
    "patient.age_years": Fact(FactKind.NUMBER, "age_years"),
    "patient.sex": Fact(FactKind.WORD, "sex", ("male", "female", "other", "unknown")),
    "specialty": Fact(FactKind.WORD, "specialty"),
    "disease_group": Fact(FactKind.WORD, "disease_groups", many=True),
    "disease_group.main": Fact(FactKind.WORD, "main_disease_group"),
    "region": Fact(FactKind.WORD, "region"),
}
"""Every name a rule or protocol may ask for; shipped and hospital rules are written with these and nothing else."""
