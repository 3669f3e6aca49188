"""The tables. Importing this package registers all of them on `Base.metadata`."""

from app.store.models.accounts import ApiToken, Membership, Project, User, WebSession
from app.store.models.base import Base
from app.store.models.datasets import Dataset, DatasetSplit
from app.store.models.findings import Comment, Finding, Query, Verdict
from app.store.models.jobs import LogLine, Stage, Upload, Worker
from app.store.models.marks import Assignment, Tag, VersionDecision
from app.store.models.registry import Checkpoint, Model, ModelVersion
from app.store.models.runs import AuditRun
from app.store.models.sharing import AuditLog, Report, ShareLink

__all__ = [
    "ApiToken",
    "Assignment",
    "AuditLog",
    "AuditRun",
    "Base",
    "Checkpoint",
    "Comment",
    "Dataset",
    "DatasetSplit",
    "Finding",
    "LogLine",
    "Membership",
    "Model",
    "ModelVersion",
    "Project",
    "Query",
    "Report",
    "ShareLink",
    "Stage",
    "Tag",
    "Upload",
    "User",
    "Verdict",
    "VersionDecision",
    "WebSession",
    "Worker",
]
