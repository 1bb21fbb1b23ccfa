"""Words for segments and fields of HL7 v2: `config/hl7v2/segments.yaml`, which a hospital may add to."""

from functools import cache

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path

_ANY_Z = "ZXX"


class SegmentWords(BaseModel):
    """The name of a segment and of its fields, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    fields: tuple[str, ...] = ()


@cache
def load_segments() -> dict[str, SegmentWords]:
    """The file, read once; a mistake in it is said with its place."""
    text = config_path("hl7v2", "segments.yaml").read_text(encoding="utf-8")
    try:
        return TypeAdapter(dict[str, SegmentWords]).validate_python(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise HcrmError("segments.invalid", f"config/hl7v2/segments.yaml 有误：{error}") from error


def segment_words(name: str) -> str:
    """What a segment is; of a Z segment nobody named, that it is local. Empty where it is not known."""
    known = load_segments()
    found = known.get(name) or (known.get(_ANY_Z) if name.startswith("Z") else None)
    return found.name if found else ""


def field_words(segment: str, number: int) -> str:
    """What a field is; empty where it is not known."""
    found = load_segments().get(segment)
    return found.fields[number - 1] if found and 0 < number <= len(found.fields) else ""
