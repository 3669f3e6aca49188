"""Brings the database to the newest schema."""

from __future__ import annotations

from alembic import command
from alembic.config import Config

from app.resources import resource
from app.settings import get_settings


def alembic_config(url: str = "") -> Config:
    """Return Alembic's configuration for `url` (default: the configured database)."""
    config = Config()
    config.set_main_option("script_location", str(resource("migrations")))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", (url or get_settings().resolved_database_url).replace("%", "%%"))
    return config


def upgrade(url: str = "") -> None:
    """Apply all migrations."""
    command.upgrade(alembic_config(url), "head")
