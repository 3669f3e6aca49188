"""The order of units, and what each way to end does to the job; the units themselves are replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.errors import StorageFull, UserError
from app.store.models import AuditRun, Dataset, DatasetSplit, ModelVersion
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.repositories.jobs import Job
from app.store.session import reading, transaction
from tests.workers import build
from workers import execute, planning
from workers.sandbox import SandboxCrashed, SandboxTimeout
from workers.testing import Twin
from workers.work import Stopped, Work

Behaviour = Callable[[Work], dict[str, Any]]


@pytest.fixture
def run(home: Path, trivial: str, monkeypatch: pytest.MonkeyPatch) -> AuditRun:
    """A run of 40 rows whose stages do nothing."""
    with get_artifacts().write("ingest-1-test") as folder:
        (folder / "packs.json").write_text('["pack"]')
    with transaction() as session:
        project = build.project(session)
        dataset = Dataset(
            project_id=project, name="d", status="succeeded", classes=build.CLASSES, rows=40,
            artifact_key="ingest-1-test",
        )  # fmt: skip
        session.add(dataset)
        session.flush()
        session.add(DatasetSplit(dataset_id=dataset.id, name="val", start=0, stop=40))
        version = build.version(session, project, b"weights")
        version.status = "succeeded"
        made = build.run(session, dataset, version, train_split="")
    monkeypatch.setenv("FAULTLINE_SHARD_ROWS", "4")
    from app.settings import get_settings

    get_settings.cache_clear()
    return made


def acting(monkeypatch: pytest.MonkeyPatch, **stages: Behaviour) -> None:
    """Replace stages by functions; the others answer at once."""

    def found(name: str) -> Behaviour:
        return stages.get(name, lambda work: {"audited": "a", "key": f"{name}-key"})

    monkeypatch.setattr(execute, "stage", found)


def ended(run: AuditRun, twin: Twin | None = None) -> tuple[AuditRun, Twin]:
    twin = twin or Twin()
    twin.run_workflow("audit_run", run.id)
    with reading() as session:
        return session.get_one(AuditRun, run.id), twin


def failing(error: Exception, only: int | None = None) -> Behaviour:
    def act(work: Work) -> dict[str, Any]:
        if only is None or work.args["start"] == only:
            raise error
        return {}

    return act


def log(run: AuditRun) -> list[str]:
    with reading() as session:
        return [line.text for line in jobs.log_lines(session, "run", run.id)]


def test_order(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch)
    done, twin = ended(run)
    assert done.status == "succeeded"
    assert [unit["stage"] for unit in twin.ran] == ["predict"] * 10 + ["assemble", "kind", "kind", "publish"]
    assert [unit["args"]["start"] for unit in twin.ran[:10]] == list(range(0, 40, 4))
    assert twin.ran[-2]["args"]["earlier"] == {"trivial:count": "kind-key", "trivial:double": "kind-key"}


def test_a_refusal_fails_the_run_at_once(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch, assemble=failing(UserError("The model hides it.")))
    done, twin = ended(run)
    assert (done.status, done.error) == ("failed", "The model hides it.")
    assert "The model hides it." in log(run)
    assert [unit["stage"] for unit in twin.ran].count("kind") == 0


def test_a_full_disk_is_told_and_the_run_can_go_on(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch, predict=failing(StorageFull("No space is left."), only=8))
    assert ended(run)[0].error == "No space is left."
    with transaction() as session:
        attempt = jobs.resume(session, run.id)
    acting(monkeypatch)
    Twin().run_workflow("audit_run", run.id, attempt)
    with reading() as session:
        assert session.get_one(AuditRun, run.id).status == "succeeded"


def test_a_crashing_shard_is_tried_four_times_and_set_aside(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def act(work: Work) -> dict[str, Any]:
        if work.args["start"] == 8:
            tries.append(1)
            raise SandboxCrashed("It died by signal SIGSEGV.")
        return {}

    acting(monkeypatch, predict=act)
    done, twin = ended(run)
    assert done.status == "succeeded"
    assert len(tries) == 4
    assemble = next(unit for unit in twin.ran if unit["stage"] == "assemble")
    assert assemble["args"]["aside"] == {"predict": [[8, 12]]}
    assert "predict: rows 8 to 11 are set aside and not audited. It died by signal SIGSEGV." in log(run)


def test_what_cannot_change_is_not_tried_again(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def act(work: Work) -> dict[str, Any]:
        tries.append(work.args["start"])
        if work.args["start"] == 8:
            raise SandboxTimeout("Too slow.")
        return {}

    acting(monkeypatch, predict=act)
    assert ended(run)[0].status == "succeeded"
    assert tries.count(8) == 1


@pytest.mark.parametrize("crashes", [False, True])
def test_a_fit_comes_before_its_shards_and_may_crash(
    run: AuditRun, monkeypatch: pytest.MonkeyPatch, crashes: bool
) -> None:
    with transaction() as session:
        found = session.get_one(AuditRun, run.id)
        found.kinds, found.train_split = ["influence"], "val"
    acting(monkeypatch, **({"fit-model": failing(SandboxTimeout("Too slow."))} if crashes else {}))
    done, twin = ended(run)
    assert done.status == "succeeded"
    order = [(unit["stage"], unit["line"]) for unit in twin.ran]
    assert order.count(("fit-model", "influence:ekfac:fit")) == 1
    assert order.count(("model-shard", "influence:gradients")) == 10
    assert order.count(("model-shard", "influence:ekfac")) == (0 if crashes else 10)
    joined = [unit["args"]["name"] for unit in twin.ran if unit["stage"] == "join-model"]
    assert joined == (["influence:gradients"] if crashes else ["influence:gradients", "influence:ekfac"])
    assert ("influence:ekfac is left out. Too slow." in log(run)) == crashes
    with reading() as session:
        lines = {stage.name: stage.status for stage in jobs.stages(session, "run", run.id)}
    assert lines["influence:ekfac"] == ("failed" if crashes else "succeeded")
    if not crashes:
        assert order.index(("fit-model", "influence:ekfac:fit")) < order.index(("model-shard", "influence:ekfac"))


def test_many_crashing_shards_fail_the_run(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch, predict=failing(ZeroDivisionError("oh")))
    done, _ = ended(run)
    assert done.status == "failed"
    assert done.error == "4 of 10 shards failed again and again. ZeroDivisionError: oh"


@pytest.mark.parametrize(("shards", "most"), [(1, 0), (2, 1), (10, 3), (100, 20)])
def test_how_many_shards_may_fail(shards: int, most: int) -> None:
    assert planning.most_aside(shards) == most


def test_transient_errors_are_tried_again(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [OSError("disk"), OSError("disk")]

    def act(work: Work) -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return {}

    acting(monkeypatch, predict=act)
    assert ended(run)[0].status == "succeeded"
    assert not any("set aside" in line for line in log(run))


def test_a_stopped_unit_ends_the_flow_without_an_error(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(work: Work) -> dict[str, Any]:
        with transaction() as session:
            jobs.request_cancel(session, Job("run", run.id))
        raise Stopped("Cancelled.")

    acting(monkeypatch, assemble=act)
    done, twin = ended(run)
    assert (done.status, done.error) == ("cancelled", "")
    assert twin.ran[-1]["stage"] == "assemble"


def test_a_cancelled_run_is_not_begun(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch)
    with transaction() as session:
        jobs.request_cancel(session, Job("run", run.id))
    done, twin = ended(run)
    assert (done.status, twin.ran) == ("cancelled", [])


def test_a_bug_in_the_flow_is_told(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch, kind=lambda work: {})
    assert ended(run)[0].error == "Faultline itself failed here: KeyError: 'key'"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"split": "test"}, "The data set “d” has no split “test”; it has “val”."),
        ({"train_split": "train"}, "The data set “d” has no split “train”; it has “val”."),
        ({"kinds": []}, "The run names no kind of audit; choose at least one."),
        ({"kinds": ["astrology"]}, "There is no audit kind “astrology”."),
    ],
)
def test_runs_that_cannot_run_say_why(
    run: AuditRun, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], sentence: str
) -> None:
    acting(monkeypatch)
    with transaction() as session:
        for name, value in change.items():
            setattr(session.get_one(AuditRun, run.id), name, value)
    done, twin = ended(run)
    assert done.status == "failed"
    assert done.error.startswith(sentence)
    assert twin.ran == []


def test_unfinished_parts_are_refused(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch)
    with transaction() as session:
        session.get_one(ModelVersion, run.model_version_id).status = "failed"
    assert ended(run)[0].error == "The model version has not passed its check."


def test_a_data_set_without_images_is_refused(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch)
    with get_artifacts().write("ingest-1-bare") as folder:
        (folder / "packs.json").write_text("[]")
    with transaction() as session:
        session.get_one(Dataset, run.dataset_id).artifact_key = "ingest-1-bare"
    assert ended(run)[0].error.startswith("“d” has no images")


def test_a_hidden_penultimate_layer_is_refused(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch)
    with transaction() as session:
        version = session.get_one(ModelVersion, run.model_version_id)
        version.spec = {**version.spec, "penultimate": False}
    assert ended(run)[0].error.startswith("This model hides its penultimate layer")
