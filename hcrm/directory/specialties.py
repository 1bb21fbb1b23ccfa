"""The national list of clinical specialties (医疗机构诊疗科目名录), as `config/departments.yaml` has it."""

from functools import cache

from hcrm.core.definition_file import DefinitionPart, DefinitionStatus, Text, parse_definition
from hcrm.core.paths import config_path


class Specialty(DefinitionPart):
    """One entry: 03.04 心血管内科专业."""

    code: Text
    name: Text


class SpecialtiesFile(DefinitionPart):
    """`config/departments.yaml`."""

    status: DefinitionStatus
    specialties: tuple[Specialty, ...]


@cache
def specialties() -> dict[str, str]:
    """Name by code, in the order of the list; read once."""
    path = config_path("departments.yaml")
    file = parse_definition(SpecialtiesFile, path.read_text(encoding="utf-8-sig"), path.name)
    return {one.code: one.name for one in file.specialties}
