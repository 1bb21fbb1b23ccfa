"""Pieces of FHIR JSON (R4B): moments, references, codes. What is not known is left out, never sent empty."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hcrm.core.clock import local_time

Json = dict[str, Any]
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ABSENT_UNKNOWN = {
    "extension": [
        {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    ]
}
"""Stands for a primitive value that is known to be unknown."""


def compact(values: Mapping[str, Any]) -> Json:
    """Without what is empty: FHIR has neither nulls nor empty texts, lists and objects. False and 0 are values."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}


def moment(at: datetime | None) -> str | None:
    """A dateTime or instant on the hospital's clock with its offset, so that its date is the hospital's too."""
    if at is None:
        return None
    local = local_time(at)
    offset = local.utcoffset()
    # Before 1901 Shanghai kept local mean time (+08:05:43), which a FHIR dateTime cannot say.
    return (at.astimezone(UTC) if offset is None or offset.seconds % 60 else local).isoformat()


def code_text(text: str) -> str:
    """A text in the form of a FHIR code: no blanks around it, single ones inside."""
    return " ".join(text.split())


def coding(system: str | None, code: str, display: str | None = None) -> Json:
    """A Coding."""
    return compact({"system": system, "code": code_text(code), "display": display})


def concept(*codings: Json, text: str | None = None) -> Json:
    """A CodeableConcept of the codings that say something."""
    return compact({"coding": [each for each in codings if each.get("code")], "text": text})


def reference(
    kind: str, key: str | None, *, display: str | None = None, identifier: Json | None = None
) -> Json | None:
    """A Reference; None where there is nothing to refer to."""
    if key is None:
        return None
    return compact({"reference": f"{kind}/{key}", "type": kind, "identifier": identifier, "display": display})


def stamp(resource: Json, updated_at: datetime) -> Json:
    """Give a finished resource its `meta`: when it last changed, and the version that stands in its ETag.

    The version is a digest of the content. A counter of one table would miss what the resource shows of others:
    numbers, addresses, the names of a department or a survivor.
    """
    meta = {"lastUpdated": moment(updated_at)}
    content = json.dumps({**resource, "meta": meta}, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    head = {"resourceType": resource["resourceType"], "id": resource["id"]}
    return {**head, "meta": {"versionId": digest, **meta}, **resource}
