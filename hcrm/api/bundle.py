"""A page of a search as a FHIR Bundle, and what a client may ask of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from hcrm.core import limits
from hcrm.core.errors import HcrmError

PAGE_KEY = "_page"
"""Our name for the key of a page; clients take it from the `next` link and need not understand it."""


def page_size(arguments: Mapping[str, str]) -> int:
    """`_count`, at most 200 (C27)."""
    text = arguments.get("_count", "")
    if not text:
        return limits.FHIR_PAGE_SIZE
    if not text.isdecimal() or len(text) > 9:
        raise HcrmError("fhir.count", "_count 应为正整数", status=400)
    return max(1, min(int(text), limits.FHIR_MAX_PAGE_SIZE))


def search_bundle(
    resources: Sequence[Mapping[str, Any]],
    *,
    base_url: str,
    path: str,
    arguments: Iterable[tuple[str, str]],
    next_key: str | None = None,
    total: int | None = None,
    included: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A searchset. `arguments` are the search as it was understood.

    The next page is named by its key alone, which carries the search: a phone number or a name that was searched for
    does not stand in an address again.
    """
    links = [{"relation": "self", "url": _address(base_url, path, list(arguments))}]
    if next_key:
        links.append({"relation": "next", "url": _address(base_url, path, [(PAGE_KEY, next_key)])})
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if total is not None:
        bundle["total"] = total
    entries = [_entry(base_url, resource, "match") for resource in resources]
    entries += [_entry(base_url, resource, "include") for resource in included]
    if entries:
        bundle["entry"] = entries  # FHIR has no empty arrays
    return bundle


def _entry(base_url: str, resource: Mapping[str, Any], mode: str) -> dict[str, Any]:
    address = f"{base_url}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": address, "resource": resource, "search": {"mode": mode}}


def _address(base_url: str, path: str, arguments: Sequence[tuple[str, str]]) -> str:
    return f"{base_url}/{path}" + (f"?{urlencode(arguments)}" if arguments else "")
