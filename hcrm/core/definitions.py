"""Definitions as versioned rows: protocols, forms and rules. Files are their exchange form, rows their truth."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from hcrm.core.db import Base, Id
from hcrm.core.errors import ConflictError, NotFoundError
from hcrm.core.work import Work


class Definition(Base):
    """One version of a protocol, form or rule set. A published row never changes; a draft is the next version."""

    __tablename__ = "definition"
    __table_args__ = (UniqueConstraint("kind", "code", "version"),)
    id: Mapped[Id]
    kind: Mapped[str]  # protocol, form, classification
    code: Mapped[str]
    version: Mapped[int]
    body: Mapped[str]  # YAML as published
    sha256: Mapped[str]
    state: Mapped[str]  # draft, published
    published_by: Mapped[str | None]  # of a draft: who wrote it last
    published_at: Mapped[datetime | None]


def publish_definition(work: Work, *, kind: str, code: str, version: int, body: str) -> bool:
    """Publish a version; the same body again is nothing new, another body under the same version is refused.

    A draft of that version gives way.
    """
    digest = digest_of(body)
    discard_draft(work, kind=kind, code=code, upto=version)
    standing = _published_digest(work, kind, code, version)
    if standing is None:
        row = {
            "id": work.new_id(), "kind": kind, "code": code, "version": version, "body": body, "sha256": digest,
            "state": "published", "published_by": work.actor.name, "published_at": work.clock.now(),
        }  # fmt: skip
        if work.insert_new(Definition, [row]):
            return True
        standing = _published_digest(work, kind, code, version)  # of two who had both looked one was faster
    if standing != digest:
        raise ConflictError("definition.published", f"{kind} {code} 第 {version} 版已发布，修改请升版本号")
    return False


def lock_definition(work: Work, *, kind: str, code: str) -> None:
    """Let nobody else publish or draft another version until this work ends; before what stands is looked at."""
    oldest = (
        sa.select(Definition.id)
        .where(Definition.kind == kind, Definition.code == code, Definition.state == "published")
        .order_by(Definition.version)
        .limit(1)
        .with_for_update()
    )  # which never changes, so that all who come wait for the same row
    work.execute(oldest)


def _published_digest(work: Work, kind: str, code: str, version: int) -> str | None:
    found: str | None = work.scalar(
        sa.select(Definition.sha256).where(
            Definition.kind == kind, Definition.code == code, Definition.version == version
        )
    )
    return found


def digest_of(body: str) -> str:
    """What tells one body from another."""
    return hashlib.sha256(body.encode()).hexdigest()


def draft_of(work: Work, *, kind: str, code: str) -> Definition | None:
    """The draft of one definition; None where nobody is at it."""
    return work.session.scalars(
        sa.select(Definition).where(
            Definition.kind == kind, Definition.code == code, Definition.state == "draft"
        )
    ).first()


def save_draft(work: Work, *, kind: str, code: str, version: int, body: str) -> None:
    """Keep a version in the making: one of each definition, in place of the one before it."""
    discard_draft(work, kind=kind, code=code)
    work.insert(
        Definition,
        [
            {"id": work.new_id(), "kind": kind, "code": code, "version": version, "body": body,
             "sha256": digest_of(body), "state": "draft", "published_by": work.actor.name,
             "published_at": work.clock.now()}
        ],
    )  # fmt: skip


def discard_draft(work: Work, *, kind: str, code: str, upto: int | None = None) -> None:
    """Leave the draft; with `upto` only one of that version or an older one, which can no longer be published."""
    where = [Definition.kind == kind, Definition.code == code, Definition.state == "draft"]
    if upto is not None:
        where.append(Definition.version <= upto)
    work.execute(sa.delete(Definition).where(*where).execution_options(synchronize_session=False))


def list_versions(work: Work, *, kind: str, code: str, limit: int) -> Sequence[Definition]:
    """Published versions of one definition, the newest first: who published it and when."""
    return work.scalars(
        sa.select(Definition)
        .where(Definition.kind == kind, Definition.code == code, Definition.state == "published")
        .order_by(Definition.version.desc())
        .limit(limit)
    )


def latest_definitions(work: Work, *, kind: str) -> Mapping[str, Definition]:
    """The newest published version of each code of a kind."""
    rows = work.scalars(
        sa.select(Definition)
        .where(Definition.kind == kind, Definition.state == "published")
        .order_by(Definition.code, Definition.version)
    )
    return {row.code: row for row in rows}


def definition_body(work: Work, *, kind: str, code: str, version: int) -> str:
    """The body of one published version; NotFoundError where there is none."""
    body: str | None = work.scalar(
        sa.select(Definition.body).where(
            Definition.kind == kind, Definition.code == code, Definition.version == version
        )
    )
    if body is None:
        raise NotFoundError
    return body
