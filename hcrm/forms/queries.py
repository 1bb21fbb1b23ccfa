"""Reading forms and answers. Callers came through the subject's door, which scopes and audits."""

from collections.abc import Collection, Sequence
from functools import lru_cache

import sqlalchemy as sa

from hcrm.core.definition_file import parse_definition
from hcrm.core.definitions import Definition, definition_body
from hcrm.core.work import Work
from hcrm.forms.definition import Questionnaire
from hcrm.forms.models import Response, ResponseState


def load_form(work: Work, *, code: str, version: int) -> Questionnaire:
    """A published form of that very version: an old answer is read with the form it was given to."""
    return _parse_form(definition_body(work, kind="form", code=code, version=version))


def load_forms(work: Work, wanted: Collection[tuple[str, int]]) -> dict[tuple[str, int], Questionnaire]:
    """Published forms by code and version, for a list of answers."""
    rows = work.execute(
        sa.select(Definition.code, Definition.version, Definition.body).where(
            Definition.kind == "form",
            sa.tuple_(Definition.code, Definition.version).in_(sorted(wanted)),
        )
    )
    return {(row.code, row.version): _parse_form(row.body) for row in rows}


def find_draft(work: Work, *, subject_type: str, subject_id: str) -> Response | None:
    """The draft that waits for this subject; there is at most one."""
    draft: Response | None = work.scalar(
        sa.select(Response).where(
            Response.subject_type == subject_type,
            Response.subject_id == subject_id,
            Response.state == ResponseState.DRAFT,
        )
    )
    return draft


def list_responses(work: Work, *, subject_type: str, subject_ids: Sequence[str]) -> Sequence[Response]:
    """What was submitted for these subjects, the latest first."""
    return work.scalars(
        sa.select(Response)
        .where(
            Response.subject_type == subject_type,
            Response.subject_id.in_(subject_ids),
            Response.state == ResponseState.SUBMITTED,
        )
        .order_by(Response.submitted_at.desc(), Response.id.desc())
    )


# The text itself is the key: published rows never change, and a process may serve several databases in its life.
@lru_cache(maxsize=128)
def _parse_form(body: str) -> Questionnaire:
    return parse_definition(Questionnaire, body, "form")
