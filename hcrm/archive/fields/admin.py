"""The hospital's own fields: added, renamed, retired in the console; every change is a new version of `fields_own`.

Nothing that was kept is ever read differently: a type stays, options are added or retired, a field is retired, never
removed. The author names the version they looked at, so that two people do not undo each other's change.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import yaml

from hcrm.archive.fields.definition import (
    CHOICES,
    KIND,
    OWN,
    OWN_PREFIX,
    FieldChange,
    FieldHeader,
    FieldOption,
    FieldType,
    OwnFieldsFile,
    PatientField,
)
from hcrm.archive.fields.service import published_fields
from hcrm.archive.names.pinyin import name_pinyin
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.definition_file import DefinitionStatus, parse_definition
from hcrm.core.definitions import Definition, latest_definitions, publish_definition
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work

_CODE_LENGTH = 40
_FEWEST_OPTIONS = 2


def own_fields(work: Work) -> OwnFieldsFile:
    """What the hospital added and changed; version 0 where it did neither."""
    row = latest_definitions(work, kind=KIND).get(OWN)
    if row is None:
        return OwnFieldsFile.model_construct(
            code=OWN, version=0, status=DefinitionStatus.SIGNED, title="本院字段", fields=(), changes=()
        )
    return parse_definition(OwnFieldsFile, row.body, OWN)


def list_versions(work: Work) -> Sequence[Definition]:
    """Every version of the fields, the newest first: who published it and when."""
    return work.scalars(
        sa.select(Definition)
        .where(Definition.kind == KIND)
        .order_by(Definition.published_at.desc(), Definition.code, Definition.version.desc())
    )


def add_field(
    work: Work, *, seen: int, title: str, group: str, kind: FieldType, options: Sequence[str], hint: str, unit: str,
    is_many: bool, asks_date: bool, goes_stale_after_days: int | None, in_header: bool,
) -> str:  # fmt: skip
    """Add a field of the hospital's own; its code, made from the title."""
    own = _seen(work, seen)
    if len(own.fields) >= limits.OWN_FIELDS:
        raise HcrmError("field.many", f"最多 {limits.OWN_FIELDS} 个本院字段", field="title")
    known = published_fields(work).by_code
    _require_new_title(known.values(), title)
    titles = list(dict.fromkeys(" ".join(one.split()) for one in options if one.strip()))
    if kind in CHOICES and len(titles) < _FEWEST_OPTIONS:
        raise HcrmError("field.options", "单选和多选至少写两个选项", field="options")
    if kind not in CHOICES and titles:
        raise HcrmError("field.options", "只有单选和多选有选项", field="options")
    if goes_stale_after_days and not asks_date:
        raise HcrmError(
            "field.stale", "填了重新询问的天数，须同时勾选“记录询问日期”", field="goes_stale_after_days"
        )
    field = PatientField(
        code=_new_code(title, known), title=title, group=group, type=kind, options=_options(titles, ()), hint=hint,
        unit=unit if kind is FieldType.NUMBER else "", is_many=is_many and kind is FieldType.TEXT,
        asks_date=asks_date, goes_stale_after_days=goes_stale_after_days,
        header=FieldHeader(tone="near") if in_header else None,
    )  # fmt: skip
    _publish(work, own, fields=(*own.fields, field), changes=own.changes, code=field.code)
    return field.code


def change_field(work: Work, *, seen: int, code: str, title: str, more_options: Sequence[str] = ()) -> None:
    """Another title; for a field of the hospital's own also further options."""
    own = _seen(work, seen)
    fields = published_fields(work).by_code
    field = _known(fields, code)
    _require_new_title((one for one in fields.values() if one.code != code), title)
    titles = [" ".join(one.split()) for one in more_options if one.strip()]
    if titles and (not code.startswith(OWN_PREFIX) or field.type not in CHOICES):
        raise HcrmError("field.options", "只有本院的单选和多选字段可以加选项", field="more_options")
    new = [one for one in dict.fromkeys(titles) if one not in field.option_titles.values()]
    _put(work, own, field, title=title, options=_options(new, field.options))


def retire_field(work: Work, *, seen: int, code: str, is_retired: bool) -> None:
    """Offer a field no longer, or again; what was kept of it stays and reads as before."""
    own = _seen(work, seen)
    field = _known(published_fields(work).by_code, code)
    _put(work, own, field, is_retired=is_retired)


def _put(work: Work, own: OwnFieldsFile, field: PatientField, **changes: Any) -> None:
    if field.code.startswith(OWN_PREFIX):
        changed = field.model_copy(update=changes)
        fields = tuple(changed if one.code == field.code else one for one in own.fields)
        _publish(work, own, fields=fields, changes=own.changes, code=field.code)
        return
    told = {name: value for name, value in changes.items() if name in FieldChange.model_fields}
    before = next((one for one in own.changes if one.code == field.code), FieldChange(code=field.code))
    others = tuple(one for one in own.changes if one.code != field.code)
    _publish(work, own, fields=own.fields, changes=(*others, before.model_copy(update=told)), code=field.code)


def _publish(
    work: Work,
    own: OwnFieldsFile,
    *,
    fields: Sequence[PatientField],
    changes: Sequence[FieldChange],
    code: str,
) -> None:
    body = {
        "code": OWN, "version": own.version + 1, "status": "signed", "title": "本院字段",
        "fields": [_plain(one) for one in fields], "changes": [_plain(one) for one in changes],
    }  # fmt: skip
    text = yaml.safe_dump(body, allow_unicode=True, sort_keys=False)
    parse_definition(OwnFieldsFile, text, OWN)  # what cannot be read must not be published
    try:
        publish_definition(work, kind=KIND, code=OWN, version=own.version + 1, body=text)
    except ConflictError:
        raise _changed() from None
    record_audit(work, action="field.manage", subject_type="field", subject_id=code)


def _plain(part: PatientField | FieldChange) -> dict[str, Any]:
    return part.model_dump(mode="json", exclude_defaults=True)


def _seen(work: Work, seen: int) -> OwnFieldsFile:
    own = own_fields(work)
    if own.version != seen:
        raise _changed()
    return own


def _changed() -> ConflictError:
    return ConflictError("field.defined", "字段定义刚被别人改过，请核对后再改")


def _known(fields: Any, code: str) -> PatientField:
    if code not in fields:
        raise NotFoundError
    field: PatientField = fields[code]
    return field


def _require_new_title(fields: Any, title: str) -> None:
    if any(one.title == title for one in fields):
        raise HcrmError("field.title", "已有同名的字段", field="title")


def _new_code(title: str, known: Any) -> str:
    """`own_` and the title in pinyin, numbered where that is taken."""
    letters = "".join(one for one in name_pinyin(title)[0].lower() if one.isascii() and one.isalnum())
    code = f"{OWN_PREFIX}{letters[:_CODE_LENGTH] or 'field'}"
    number = 1
    while (code if number == 1 else f"{code}_{number}") in known:
        number += 1
    return code if number == 1 else f"{code}_{number}"


def _options(titles: Sequence[str], standing: Sequence[FieldOption]) -> tuple[FieldOption, ...]:
    """Options after those that stand; their codes are their places, which never change."""
    first = len(standing) + 1
    return (
        *standing,
        *(FieldOption(code=f"o{first + place}", title=one) for place, one in enumerate(titles)),
    )
