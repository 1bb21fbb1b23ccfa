"""The demonstration hospital: departments, wards and staff, as `config/demo/hospital.yaml` describes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import yaml

from hcrm.core.paths import config_path


@dataclass(frozen=True, slots=True)
class Ward:
    """A ward (病区) and the number of its beds; `only` is for a ward of its own for some diagnoses."""

    code: str
    name: str
    beds: int
    only: str = ""


@dataclass(frozen=True, slots=True)
class Department:
    """A department (科室); `specialty` is a code of 医疗机构诊疗科目名录."""

    code: str
    name: str
    specialty: str
    wards: tuple[Ward, ...]


@dataclass(frozen=True, slots=True)
class Physician:
    """A physician (医师); `code` is the staff number, XCN.1 of the messages."""

    code: str
    name: str
    title: str
    department_code: str
    is_head: bool


@dataclass(frozen=True)
class Hospital:
    """A hospital: departments in order of their share of the visits, and their physicians."""

    name: str
    departments: tuple[Department, ...]
    physicians: tuple[Physician, ...]

    @cached_property
    def staff(self) -> Mapping[str, tuple[Physician, ...]]:
        """The physicians of each department by its code, the head first."""
        return {
            department.code: tuple(
                each for each in self.physicians if each.department_code == department.code
            )
            for department in self.departments
        }

    @cached_property
    def by_code(self) -> Mapping[str, Department]:
        """The departments by code."""
        return {department.code: department for department in self.departments}


@cache
def load_data(name: str) -> Any:
    """A file of `config/demo/` as plain data."""
    return yaml.safe_load(config_path("demo", name).read_text("utf-8"))


@cache
def load_hospital() -> Hospital:
    """The shipped demonstration hospital."""
    data = load_data("hospital.yaml")
    departments = tuple(
        Department(
            each["code"], each["name"], each["specialty"], tuple(Ward(**ward) for ward in each["wards"])
        )
        for each in data["departments"]
    )
    physicians = tuple(
        Physician(person["code"], person["name"], person["title"], each["code"], is_head=rank == 0)
        for each in data["departments"]
        for rank, person in enumerate(each["physicians"])
    )
    return Hospital(data["name"], departments, physicians)
