"""Settings, read from `FAULTLINE_*` environment variables."""

from __future__ import annotations

import secrets
from functools import lru_cache
from pathlib import Path

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that an administrator can set; the defaults run embedded on one machine."""

    model_config = SettingsConfigDict(env_prefix="FAULTLINE_", extra="ignore")

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("faultline")),
        description="Folder of the embedded database, the local store, logs and the secret.",
    )
    database_url: str = Field("", description="SQLAlchemy URL; empty means SQLite in `home`.")
    store_url: str = Field("", description="fsspec URL of the blob and artifact store; empty means `home`/store.")
    cache_bytes: int = Field(
        100 * 2**30, ge=0, description="Largest local cache of a remote store, in bytes; 0: no limit."
    )
    import_roots: list[str] = Field(
        default_factory=list, description="Folders and fsspec URLs below which server-side imports may read."
    )
    encoder: str = Field("scenes", description="Default encoder of new audits.")
    device: str = Field("auto", description="auto, cpu or cuda.")
    cpu_workers: int = Field(1, ge=0, description="CPU workers that `serve` starts beside the control worker.")
    shard_rows: int = Field(512, ge=1, description="Rows of one predict or embed shard.")
    batch_size: int = Field(64, ge=1, description="First batch size; halves when memory runs out.")
    host: str = "127.0.0.1"
    port: int = 8400
    root_path: str = Field("", description="Path prefix when served behind a proxy.")
    cookie_secure: bool = Field(False, description="Send cookies over HTTPS only; set it behind TLS.")
    max_upload_bytes: int = Field(50 * 2**30, description="Largest upload.")
    max_archive_bytes: int = Field(200 * 2**30, description="Largest unpacked archive.")
    max_archive_members: int = Field(5_000_000, description="Most files in an archive.")
    max_file_bytes: int = Field(256 * 2**20, description="Largest single file in an archive.")
    max_archive_ratio: float = Field(200.0, description="Largest unpacked / packed size.")
    max_pixels: int = Field(80_000_000, description="Most pixels of one image, checked before decoding.")
    child_seconds: float = Field(600.0, description="Longest time a sandboxed request may take.")
    retrain_seconds: float = Field(6 * 3600.0, description="Longest time to train one model, or a few small ones.")
    smoke_seconds: float = Field(180.0, description="Longest time of an uploaded model's smoke run.")
    child_memory_bytes: int = Field(8 * 2**30, description="Largest resident size of a sandboxed child.")
    session_days: int = 14

    @property
    def resolved_database_url(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.home / 'faultline.db'}"

    @property
    def resolved_store_url(self) -> str:
        """The store URL in force."""
        return self.store_url or str(self.home / "store")

    def secret_key(self) -> str:
        """Return the signing key, made at first use and readable by its owner only."""
        path = self.home / "secret"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(48))
        return path.read_text().strip()


@lru_cache
def get_settings() -> Settings:
    """Return the settings of this process."""
    return Settings()
