"""What the FHIR interface can do, said from the same tables that do it."""

from collections.abc import Iterable

import hcrm
from hcrm.api.elements import Json, compact
from hcrm.api.search import ResourceType

FHIR_VERSION = "4.3.0"
CHANGED_ON = "2026-11-22"
"""Day on which the interface last changed."""
_SECURITY = (
    "机器客户端：HTTP Authorization: Bearer <令牌>，令牌由 hcrm token create 生成，读取需要范围 fhir.read"
)
_READ_ONLY = "不存在的资源答 404，曾经存在而已失效的答 410；ETag 即 meta.versionId，可作条件读取"
_SEARCH = "不支持的参数、修饰符和前缀答 400；同一参数的多个值用逗号分隔（任一），重复的参数须同时满足；翻页用 next 链接"


def capability_statement(types: Iterable[ResourceType], *, base_url: str, hospital: str) -> Json:
    """FHIR CapabilityStatement of this server."""
    return {
        "resourceType": "CapabilityStatement",
        "id": "hcrm",
        "name": "HCRM",
        "title": "HCRM FHIR R4B 接口",
        "status": "active",
        "date": CHANGED_ON,
        "kind": "instance",
        "software": {"name": "HCRM", "version": hcrm.__version__},
        "implementation": compact({"description": f"{hospital} HCRM", "url": base_url}),
        "fhirVersion": FHIR_VERSION,
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "documentation": _SEARCH,
                "security": {"cors": False, "description": _SECURITY},
                "resource": [_resource(kind) for kind in types],
            }
        ],
    }


def _resource(kind: ResourceType) -> Json:
    return {
        "type": kind.name,
        "documentation": _READ_ONLY,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "versioning": "versioned",
        "readHistory": False,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [
            {"name": parameter.name, "type": parameter.kind, "documentation": parameter.says}
            for parameter in kind.parameters
            if ":" not in parameter.name  # a modifier is not a parameter of its own
        ],
    }
