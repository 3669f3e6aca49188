"""People, projects and who may do what."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, UtcDateTime, created, moment, name_text, pk, project_fk


class User(Base):
    """A person with a local password (argon2)."""

    __tablename__ = "user_account"
    id: Mapped[pk]
    email: Mapped[str] = mapped_column(String(320), unique=True)
    name: Mapped[name_text]
    password_hash: Mapped[str] = mapped_column(String(200))
    is_admin: Mapped[bool] = mapped_column(default=False)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[created]


class WebSession(Base):
    """A signed-in browser; the cookie holds a token of which only the hash is kept."""

    __tablename__ = "web_session"
    id: Mapped[pk]
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    csrf_token: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[moment]
    created_at: Mapped[created]


class ApiToken(Base):
    """A bearer token for scripts; only its hash is kept."""

    __tablename__ = "api_token"
    id: Mapped[pk]
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    name: Mapped[name_text]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(12))
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[created]


class Project(Base):
    """A room for models, data sets and runs; every object belongs to one."""

    __tablename__ = "project"
    id: Mapped[pk]
    name: Mapped[name_text]
    created_at: Mapped[created]


class Membership(Base):
    """What a person may do in a project: owner, analyst or viewer."""

    __tablename__ = "membership"
    __table_args__ = (UniqueConstraint("project_id", "user_id"),)
    id: Mapped[pk]
    project_id: Mapped[project_fk]
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[created]
