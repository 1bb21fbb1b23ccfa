"""Accounts, their roles, machine tokens and sign-in attempts. Password handling is Flask-Security's."""

from datetime import datetime

import sqlalchemy as sa
from flask_security.core import RoleMixin, UserMixin
from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from hcrm.core.db import Base, Id

account_role = sa.Table(
    "account_role",
    Base.metadata,
    sa.Column("account_id", ForeignKey("account.id"), primary_key=True),
    sa.Column("role_id", ForeignKey("role.id"), primary_key=True),
)


class Role(Base, RoleMixin):
    """A role; what it may do stands in `config/roles.yaml`."""

    __tablename__ = "role"
    id: Mapped[Id]  # type: ignore[assignment]  # Flask-Security writes int; it only passes keys on
    name: Mapped[str] = mapped_column(unique=True)
    label: Mapped[str]


class Account(Base, UserMixin):
    """A person's account (账号). `fs_uniquifier` changes with password and role: every old session dies (C53)."""

    __tablename__ = "account"
    id: Mapped[Id]  # type: ignore[assignment]  # as above
    username: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str]
    password: Mapped[str]
    active: Mapped[bool] = mapped_column(default=True)
    fs_uniquifier: Mapped[str] = mapped_column(unique=True)
    must_change_password: Mapped[bool] = mapped_column(default=False)
    department_id: Mapped[str | None] = mapped_column(ForeignKey("department.id"))
    practitioner_id: Mapped[str | None] = mapped_column(ForeignKey("practitioner.id"), index=True)
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]  # type: ignore[assignment]  # ours: its tracking is off
    roles: Mapped[list[Role]] = relationship(  # type: ignore[assignment]  # its own base class is less precise
        secondary=account_role, lazy="selectin"
    )


class AccountSession(Base):
    """A signed-in browser (登录会话). Its cookie is dead once the row has ended, gone or grown too old (C53)."""

    __tablename__ = "account_session"
    id: Mapped[Id]
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    started_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]


class KeptSearch(Base):
    """What somebody searched for in a session (搜索词), sealed: its key stands in the address in place of the words."""

    __tablename__ = "kept_search"
    __table_args__ = (Index("ix_kept_search_session_id", "session_id", "id"),)
    id: Mapped[Id]
    session_id: Mapped[str] = mapped_column(ForeignKey("account_session.id"))
    words_sealed: Mapped[bytes]


class LoginAttempt(Base):
    """A failed sign-in, for the delay that grows with them (W2); names and addresses only as blind keys."""

    __tablename__ = "login_attempt"
    __table_args__ = (
        Index("ix_login_attempt_account", "account_key", "attempted_at"),
        Index("ix_login_attempt_address", "address_key", "attempted_at"),
    )
    id: Mapped[Id]
    account_key: Mapped[str]
    address_key: Mapped[str]
    attempted_at: Mapped[datetime]


class ApiToken(Base):
    """A machine client's bearer token: kept as its hash, shown once."""

    __tablename__ = "api_token"
    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    token_sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[str]  # blank separated: fhir.read fhir.write inbox.write metrics.read
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
