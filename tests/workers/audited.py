"""Finished runs of one audit kind over the coloured pictures, each made when a test first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from app.store.models import AuditRun, Dataset, ModelVersion
from app.store.session import reading, transaction
from tests.workers import build
from tests.workers.home import fresh_home
from workers import warm
from workers.testing import Twin


class Network(NamedTuple):
    """A model's file and what is said of it; `claim` as people state it beside the file."""

    data: Callable[[], bytes]
    spec: Mapping[str, Any] = {}
    claim: Mapping[str, Any] = {}


class Wanted(NamedTuple):
    """A run: the name of its network and the kind's parameters."""

    network: str
    params: Mapping[str, Any]


class Audited(dict[str, AuditRun]):
    """Runs by name: a plain run of the tests asks for few, and only tests marked `long` for the others."""

    def __init__(
        self, kind: str, dataset: int, networks: Mapping[str, Network], wanted: Mapping[str, Wanted], checked: bool
    ) -> None:
        super().__init__()
        self._twin, self._versions = Twin(), dict[str, int]()
        self._kind, self._dataset, self._networks, self._wanted = kind, dataset, networks, wanted
        self._checked = checked

    def __missing__(self, name: str) -> AuditRun:
        wanted = self._wanted[name]
        version = self._version(wanted.network)
        with transaction() as session:
            data, net = session.get_one(Dataset, self._dataset), session.get_one(ModelVersion, version)
            run = build.run(session, data, net, kinds=[self._kind], params={self._kind: dict(wanted.params)})
        self._twin.run_workflow("audit_run", run.id)
        with reading() as session:
            self[name] = session.get_one(AuditRun, run.id)
        return self[name]

    def _version(self, name: str) -> int:
        if name not in self._versions:
            network = self._networks[name]
            with transaction() as session:
                project = session.get_one(Dataset, self._dataset).project_id
                made = build.version(session, project, network.data(), dict(network.claim), **network.spec)
                # What a check finds is tested elsewhere, and takes longer than most runs.
                made.status = "queued" if self._checked else "succeeded"
            if self._checked:
                self._twin.run_workflow("check_model", made.id)
            with reading() as session:
                version = session.get_one(ModelVersion, made.id)
                assert version.status == "succeeded", version.error
            self._versions[name] = made.id
        return self._versions[name]


@contextmanager
def audited(
    folder: Path,
    kind: str,
    networks: Mapping[str, Network],
    wanted: Mapping[str, Wanted],
    *,
    per_class: int = 6,
    checked: bool = False,
) -> Iterator[Audited]:
    """Yield the runs that `wanted` names, in an installation of their own with seven images a shard.

    `checked`: each version is checked as after an upload before it is audited.
    """
    with pytest.MonkeyPatch.context() as patch, fresh_home(folder, patch, shard_rows="7"):
        with transaction() as session:
            dataset = build.dataset(session, build.project(session), build.images_zip(per_class))
        Twin().run_workflow("import_dataset", dataset.id)
        yield Audited(kind, dataset.id, networks, wanted, checked)
        warm._drop_child()
