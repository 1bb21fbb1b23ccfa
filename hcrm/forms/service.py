"""Saving drafts and submitting answers. The server reads every answer anew; what a page computed counts for nothing.

A form page is given the response's key before anything is saved. The key makes a doubled submit harmless, the
version keeps two people from overwriting each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core.clock import local_time
from hcrm.core.errors import ConflictError, InvalidInput, NotFoundError
from hcrm.core.work import Work
from hcrm.forms.answers import Answers, Raw, read_answers
from hcrm.forms.definition import Questionnaire
from hcrm.forms.models import Response, ResponseState
from hcrm.forms.queries import load_form
from hcrm.forms.scoring import RaisedFlag, raise_flags


@dataclass(frozen=True, slots=True)
class Subject:
    """What a form is answered for, and which form. The caller holds its row locked."""

    type: str
    id: str
    patient_id: str
    encounter_id: str | None
    form_code: str
    form_version: int


@dataclass(frozen=True, slots=True)
class SavedDraft:
    """A draft as it now stands; what could not be read is in `answers.errors` and was not kept."""

    response_id: str
    version: int
    answers: Answers


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submitted response with the red flags it raises, the most urgent first."""

    response: Response
    flags: Sequence[RaisedFlag]
    is_new: bool  # False: it was submitted before, and this was its echo


class DraftConflictError(ConflictError):
    """Another draft or a later version stands; both texts can be shown side by side, nothing was overwritten."""

    def __init__(self, standing: Response) -> None:
        at = f"{local_time(standing.saved_at):%m-%d %H:%M}"
        super().__init__(
            "response.changed", f"{standing.author_name} 已于 {at} 保存了另一份草稿，您的内容没有覆盖它"
        )
        self.response_id = standing.id
        self.version = standing.version
        self.answers: dict[str, Any] = dict(standing.answers)


def save_draft(
    work: Work,
    *,
    subject: Subject,
    response_id: str,
    version: int = 0,
    raw: Mapping[str, Raw],
    note: str | None = None,
) -> SavedDraft:
    """Keep what was filled in so far; required items may be open. `version` 0: nothing was saved before."""
    answers = read_answers(_form_of(work, subject), raw, draft=True)
    note = _clean(note)
    standing = _lock_draft(work, subject)
    if standing is None:
        if version:
            raise ConflictError("response.submitted", "这份答卷已提交或删除，草稿没有保存")
        _insert(work, subject, response_id, answers.values, note)
        _audit(work, subject, response_id, "response.save")
        return SavedDraft(response_id, 1, answers)
    if (standing.id, standing.version) != (response_id, version):
        if not _is_echo(work, standing, response_id, answers.values, note):
            raise DraftConflictError(standing)
    elif standing.answers != answers.values or standing.note != note:
        _fill(work, standing, answers.values, note)
        work.session.flush()
        _audit(work, subject, response_id, "response.save")
    return SavedDraft(response_id, standing.version, answers)


def submit_response(
    work: Work,
    *,
    subject: Subject,
    response_id: str,
    version: int = 0,
    raw: Mapping[str, Raw],
    note: str | None = None,
    partial: bool = False,
) -> Submitted:
    """Submit a response; the draft of that version becomes it. Submitting it again gives the same answer.

    `partial` lets required items stay open: the talk was broken off.
    """
    form = _form_of(work, subject)
    answers = read_answers(form, raw, draft=partial)
    note = _clean(note)
    before = work.session.get(Response, response_id, populate_existing=True)
    if before is not None and before.state is ResponseState.SUBMITTED:
        _require_echo(before, subject, answers.values)
        return Submitted(before, raise_flags(form, before.answers), is_new=False)
    if answers.errors:
        raise InvalidInput(answers.errors)
    standing = _lock_draft(work, subject)
    if standing is None:
        if version:
            raise ConflictError("response.submitted", "这份答卷已提交或删除，请重新打开")
        _insert(work, subject, response_id, answers.values, note)
        standing = work.get(Response, response_id)
    elif (standing.id, standing.version) != (response_id, version):
        raise DraftConflictError(standing)
    else:
        _fill(work, standing, answers.values, note)
    return _submit(work, subject, standing)


def close_draft(work: Work, *, subject: Subject) -> Submitted | None:
    """The subject is closed without a form: what its draft holds becomes the response, an empty draft goes."""
    draft = _lock_draft(work, subject)
    if draft is None:
        return None
    if not draft.answers and not draft.note:
        work.session.delete(draft)
        work.session.flush()
        return None
    return _submit(work, subject, draft)


def _form_of(work: Work, subject: Subject) -> Questionnaire:
    return load_form(work, code=subject.form_code, version=subject.form_version)


def _lock_draft(work: Work, subject: Subject) -> Response | None:
    return work.session.scalars(
        sa.select(Response)
        .where(
            Response.subject_type == subject.type,
            Response.subject_id == subject.id,
            Response.state == ResponseState.DRAFT,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def _insert(
    work: Work, subject: Subject, response_id: str, values: Mapping[str, Any], note: str | None
) -> None:
    """A new draft under the page's key."""
    row = {
        "id": response_id, "patient_id": subject.patient_id, "encounter_id": subject.encounter_id,
        "subject_type": subject.type, "subject_id": subject.id, "form_code": subject.form_code,
        "form_version": subject.form_version, "state": ResponseState.DRAFT, "answers": dict(values), "note": note,
        "author_id": work.actor.id, "author_name": work.actor.name, "saved_at": work.clock.now(), "version": 1,
    }  # fmt: skip
    if not work.insert_new(Response, [row]):
        raise ConflictError("response.key", "这份答卷的编号已被使用，请重新打开表单")


def _submit(work: Work, subject: Subject, draft: Response) -> Submitted:
    """The draft becomes the response; told in the timeline and in audit."""
    form = _form_of(work, subject)
    now = work.clock.now()
    draft.state = ResponseState.SUBMITTED
    draft.submitted_at = now
    work.session.flush()
    add_entry(
        work, patient_id=subject.patient_id, happened_at=now, kind="form", title=f"已填写：{form.title}",
        subject_type="response", subject_id=draft.id, encounter_id=subject.encounter_id,
    )  # fmt: skip
    _audit(work, subject, draft.id, "response.submit")
    return Submitted(draft, raise_flags(form, draft.answers), is_new=True)


def _fill(work: Work, response: Response, values: Mapping[str, Any], note: str | None) -> None:
    response.answers = dict(values)
    response.note = note
    response.author_id = work.actor.id
    response.author_name = work.actor.name
    response.saved_at = work.clock.now()


def _is_echo(
    work: Work, standing: Response, response_id: str, values: Mapping[str, Any], note: str | None
) -> bool:
    """Whether the same person saves the same text of the same draft once more: a doubled click."""
    return (standing.id, standing.author_id, standing.answers, standing.note) == (
        response_id, work.actor.id, values, note,
    )  # fmt: skip


def _require_echo(before: Response, subject: Subject, values: Mapping[str, Any]) -> None:
    """The same key may come again only with the same answers to the same subject."""
    if (before.subject_type, before.subject_id) != (subject.type, subject.id):
        raise NotFoundError
    if before.answers != values:
        raise ConflictError("response.submitted", "这份答卷已提交，之后的修改没有保存")


def _audit(work: Work, subject: Subject, response_id: str, action: str) -> None:
    record_audit(
        work, action=action, patients=[subject.patient_id], subject_type="response", subject_id=response_id
    )


def _clean(note: str | None) -> str | None:
    return (note or "").strip() or None
