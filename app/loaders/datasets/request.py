"""What an import is asked to do; the JSON that crosses into the sandboxed child and back."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.loaders.datasets.report import IntegrityReport, SplitCounts

Format = Literal["auto", "class_folders", "manifest", "webdataset", "parquet_images"]
Layout = Literal["auto", "class", "split/class"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Source(_Strict):
    """One file or folder to read: where it lies, and the name that the person knows it by."""

    path: str
    name: str


class Columns(_Strict):
    """Columns of a table, where their names do not say what they are; empty means found by name."""

    path: str = ""
    label: str = ""
    split: str = ""
    id: str = ""
    embedding: str = ""


class ImportOptions(_Strict):
    """Choices of the person; the defaults read the structure from the bytes."""

    format: Format = "auto"
    layout: Layout = "auto"
    columns: Columns = Columns()
    images: Literal["auto", "none"] = Field(
        "auto", description="'none' imports the rows of a table without their images."
    )
    split: str = Field("all", min_length=1, description="Split of the rows for which the source names none.")
    classes: list[str] = Field(default_factory=list, description="Class names in order; integer labels index it.")
    model_classes: list[str] = Field(default_factory=list, description="Classes of the model to be audited.")


class Limits(_Strict):
    """What hostile archives and images are held to (the administrator's settings)."""

    max_archive_bytes: int = 200 * 2**30
    max_archive_members: int = 5_000_000
    max_file_bytes: int = 256 * 2**20
    max_archive_ratio: float = 200.0
    max_pixels: int = 80_000_000


class IngestRequest(_Strict):
    """Payload of `ingest`.

    `within` lists the folders that links and absolute manifest paths of a server-side source may lead to; it is empty
    for uploads. `output` is an empty folder that receives the data set.
    """

    sources: list[Source] = Field(min_length=1)
    output: str
    within: list[str] = Field(default_factory=list)
    options: ImportOptions = ImportOptions()
    limits: Limits = Limits()
    threads: int = Field(2, ge=1, le=64)


class IngestResult(BaseModel):
    """Answer of `ingest`: what the data set's database row shows."""

    format: str
    rows: int
    classes: list[str]
    splits: list[SplitCounts]
    meta_columns: list[str]
    embedding_dim: int | None
    data_hash: str
    packs: int
    set_aside: int
    integrity: IntegrityReport
