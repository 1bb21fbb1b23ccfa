"""FHIR R4B for machine clients: read and search over the resources of every part (contracts, ports and paths).

What a route answers was noted before it leaves: one audit event for each read or search, a subject row for each
patient shown (W4).
"""

from collections.abc import Mapping
from functools import cache

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.http import http_date

from hcrm.api.bundle import PAGE_KEY, search_bundle
from hcrm.api.outcome import fhir_response
from hcrm.api.search import ID, Found, ResourceType, check_format, find_page, read_query
from hcrm.api.shell import api_work, current_api, require_scope
from hcrm.archive.fhir import PatientType, Systems
from hcrm.archive.queries import record_list_read
from hcrm.archive.visit_fhir import ConditionType, EncounterType
from hcrm.audit.service import record_audit
from hcrm.centre.fhir import TaskType
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.desk.capability import capability_statement
from hcrm.forms.fhir import ResponseType
from hcrm.inbox.configured import configured_sources
from hcrm.web.shell import exempt

BASE = "/fhir/R4B"
bp = Blueprint("fhir", __name__, url_prefix=BASE)
_ACCEPTED = frozenset({"*/*", "application/*", "application/json", "application/fhir+json"})


@cache
def resource_types() -> Mapping[str, ResourceType]:
    """Every type this server reads and searches, by name; systems as the sources' files were read at start."""
    systems = Systems(configured_sources())
    types: tuple[ResourceType, ...] = (
        PatientType(systems), EncounterType(), ConditionType(), TaskType(), ResponseType(),
    )  # fmt: skip
    return {kind.name: kind for kind in types}


# ── routes ──────────────────────────────────────────────────────────────────


@bp.get("/metadata")
@exempt(
    "says what the interface can do; a client asks before it has a token (R4B, RESTful API, capabilities)"
)
def metadata() -> ResponseReturnValue:
    """The CapabilityStatement."""
    _check_accept()
    hospital = current_api().runtime.settings.hospital.name
    return fhir_response(
        capability_statement(resource_types().values(), base_url=_base_url(), hospital=hospital)
    )


@bp.get("/<type_name>/<resource_id>")
@require_scope("fhir.read", audit="fhir.read")
def read_resource(type_name: str, resource_id: str) -> ResponseReturnValue:
    """One resource."""
    kind = _type(type_name)
    if not ID.fullmatch(resource_id):
        raise NotFoundError
    _check_accept()
    unknown = [name for name in request.args if name != "_format"]
    if unknown:
        raise HcrmError("fhir.search", "读取单个资源时只支持参数 _format", status=400)
    with api_work() as work:
        found = kind.read(work, resource_id)
        record_audit(
            work, action="fhir.read", patients=[found.patient_id], subject_type=kind.subject_type,
            subject_id=resource_id,
        )  # fmt: skip
    return _versioned(found)


@bp.get("/<type_name>")
@require_scope("fhir.read", audit="fhir.search")
def search_resources(type_name: str) -> ResponseReturnValue:
    """A page of a search."""
    return _search(type_name)


@bp.post("/<type_name>/_search")
@require_scope("fhir.read", audit="fhir.search")
def post_search(type_name: str) -> ResponseReturnValue:
    """A search whose words stand in no address, since logs keep addresses (R4B, RESTful API, search)."""
    if request.mimetype != "application/x-www-form-urlencoded":
        raise HcrmError("fhir.media_type", "_search 的正文应为 application/x-www-form-urlencoded", status=415)
    return _search(type_name)


def _search(type_name: str) -> ResponseReturnValue:
    kind = _type(type_name)
    _check_accept()
    sent = [*request.args.items(multi=True), *request.form.items(multi=True)]
    with api_work(write=False) as work:
        query = read_query(work, kind, sent)
        hits = find_page(work, kind, query)
        # By what was searched, never for what: values are phone numbers and names.
        detail = {"type": kind.name, "by": sorted({name for name, _ in query.arguments})}
        record_list_read(work, "fhir.search", [each.patient_id for each in hits.found], detail=detail)
    asked = [each for each in sent if each[0] == PAGE_KEY] or [*query.arguments, ("_count", str(query.count))]
    bundle = search_bundle(
        [each.resource for each in hits.found], base_url=_base_url(), path=kind.name,
        arguments=asked, next_key=hits.next_key, total=hits.total,
    )  # fmt: skip
    return fhir_response(bundle)


# ── the manners of the interface ────────────────────────────────────────────


def _type(name: str) -> ResourceType:
    kind = resource_types().get(name)
    if kind is None:
        raise NotFoundError("fhir.type")
    return kind


def _check_accept() -> None:
    """JSON only; `_format` in the address wins over the header (R4B, RESTful API, content types)."""
    formats = [("_format", value) for value in request.values.getlist("_format")]
    check_format(formats)
    accepted = request.accept_mimetypes
    if not formats and accepted and not any(_is_ours(value) for value, quality in accepted if quality > 0):
        raise HcrmError("fhir.accept", "只提供 JSON（application/fhir+json）", status=406)


def _is_ours(media_type: str) -> bool:
    """Whether a media type of Accept is one we speak: JSON, and where a FHIR version is named, 4.x."""
    name, _, parameters = media_type.lower().partition(";")
    versions = [
        value.strip(' "')
        for key, _, value in (each.partition("=") for each in parameters.split(";"))
        if key.strip() == "fhirversion"
    ]
    return name.strip() in _ACCEPTED and all(version.startswith("4.") for version in versions)


def _base_url() -> str:
    return request.url_root.rstrip("/") + BASE


def _versioned(found: Found) -> Response:
    """A resource with its version; nothing but the headers where the client has that version already."""
    response = fhir_response(found.resource)
    response.set_etag(found.resource["meta"]["versionId"], weak=True)
    response.headers["Last-Modified"] = http_date(found.updated_at)
    response.make_conditional(request)
    return response
