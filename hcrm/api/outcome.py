"""Errors of the APIs as FHIR OperationOutcome: what is wrong, never what was found, typed or thrown."""

import secrets
from typing import Any

import structlog
from flask import Response, g, json, request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from hcrm.api.shell import note_denied
from hcrm.core.errors import DeniedError, HcrmError, InvalidInput

FHIR_JSON = "application/fhir+json"
PREFIXES = ("/fhir/", "/hl7v2", "/api/", "/metrics")
log = structlog.get_logger("hcrm.api")

_CODES = {
    400: "invalid", 401: "login", 403: "forbidden", 404: "not-found", 405: "not-supported", 406: "not-supported",
    409: "conflict", 410: "deleted", 412: "conflict", 413: "too-long", 415: "not-supported", 422: "processing",
    428: "required", 429: "throttled", 503: "transient",
}  # fmt: skip
"""Issue type (http://hl7.org/fhir/R4B/valueset-issue-type.html) of a status."""
_WORDS = {
    400: "请求无法理解", 401: "缺少有效的令牌", 403: "令牌不含所需的范围", 404: "没有找到", 405: "不支持这种操作",
    409: "内容已被更改", 413: "内容过大", 415: "不支持这种格式", 429: "请求过于频繁", 503: "系统暂不可用",
}  # fmt: skip


def is_machine_path(path: str) -> bool:
    """Whether an address belongs to the APIs, also where there is no route."""
    return path.startswith(PREFIXES)


def outcome(
    code: str, text: str, *, severity: str = "error", expression: str | None = None
) -> dict[str, Any]:
    """An OperationOutcome with one issue."""
    issue: dict[str, Any] = {"severity": severity, "code": code, "details": {"text": text}}
    if expression:
        issue["expression"] = [expression]
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def fhir_response(resource: dict[str, Any], status: int = 200) -> Response:
    """A resource as an answer; Chinese stays readable."""
    body = json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
    return Response(body, status, content_type=f"{FHIR_JSON}; charset=utf-8")


def answer_error(error: Exception) -> Response:
    """The answer to whatever went wrong on a path of the APIs. A refused record is a plain 404, and noted (C49)."""
    if isinstance(error, DeniedError) and g.get("actor") is not None:
        try:
            note_denied(error)
        except SQLAlchemyError as fault:
            return answer_error(fault)
    if isinstance(error, InvalidInput):
        issues = [
            {"severity": "error", "code": "value", "details": {"text": text}, "expression": [name]}
            for name, text in error.errors.items()
        ]
        return fhir_response({"resourceType": "OperationOutcome", "issue": issues}, error.status)
    if isinstance(error, StaleDataError):
        return _answer(409)
    if isinstance(error, HcrmError):
        return _answer(error.status, None if error.status in (401, 403, 404) else error.message)
    if isinstance(error, HTTPException):
        response = _answer(error.code or 500)
        if error.code == 405 and getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))  # type: ignore[attr-defined]
        return response
    incident = secrets.token_hex(4).upper()
    log.error("fault", incident=incident, endpoint=request.endpoint, kind=type(error).__name__)
    status = 503 if isinstance(error, SQLAlchemyError) else 500
    return _answer(status, f"{_WORDS.get(status, '系统出错')}（错误编号 {incident}）")


def _answer(status: int, text: str | None = None) -> Response:
    response = fhir_response(
        outcome(_CODES.get(status, "exception"), text or _WORDS.get(status, "请求未完成")), status
    )
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="hcrm"'
    return response
