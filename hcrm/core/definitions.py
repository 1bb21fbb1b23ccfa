"""Definitions as versioned rows: protocols, forms and rules. Files are their exchange form, rows their truth."""

import hashlib
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from hcrm.core.db import Base, Id
from hcrm.core.errors import ConflictError, NotFoundError
from hcrm.core.work import Work


class Definition(Base):
    """One published version of a protocol, form or rule set; published rows never change."""

    __tablename__ = "definition"
    __table_args__ = (UniqueConstraint("kind", "code", "version"),)
    id: Mapped[Id]
    kind: Mapped[str]  # protocol, form, classification
    code: Mapped[str]
    version: Mapped[int]
    body: Mapped[str]  # YAML as published
    sha256: Mapped[str]
    state: Mapped[str]  # draft, published
    published_by: Mapped[str | None]
    published_at: Mapped[datetime | None]


def publish_definition(work: Work, *, kind: str, code: str, version: int, body: str) -> bool:
    """Publish a version; the same body again is nothing new, another body under the same version is refused."""
    digest = hashlib.sha256(body.encode()).hexdigest()
    standing = work.scalar(
        sa.select(Definition.sha256).where(
            Definition.kind == kind, Definition.code == code, Definition.version == version
        )
    )
    if standing == digest:
        return False
    if standing is not None:
        raise ConflictError("definition.published", f"{kind} {code} 第 {version} 版已发布，修改请升版本号")
    work.insert(
        Definition,
        [
            {"id": work.new_id(), "kind": kind, "code": code, "version": version, "body": body, "sha256": digest,
             "state": "published", "published_by": work.actor.name, "published_at": work.clock.now()}
        ],
    )  # fmt: skip
    return True


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
