"""The kind `shift` where there is no network: a table of predictions that speaks of two data sets without images."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy.orm import Session

from app.errors import FieldError
from app.services import request_audit
from app.services.request_audit import RunRequest
from app.store.models import AuditRun, Dataset
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.session import reading, transaction
from tests.workers import build
from tests.workers.home import fresh_home
from workers.testing import Twin

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("shift-tables")]

FIRST, SECOND, COVERED = 90, 60, 50


def table(name: str, rows: int, columns: tuple[str, ...] = ("e0", "e1"), prefix: str = "", split: str = "val") -> bytes:
    """A manifest without images: id, label, split, where it was taken, embeddings."""
    rng = np.random.default_rng(len(name))
    lines = [",".join(["id", "label", "split", "place", *columns])]
    for i in range(rows):
        values = [f"{value:.3f}" for value in rng.normal(2.0 if prefix == "b" else 0.0, 1, len(columns))]
        place = "road" if rng.random() < (0.8 if prefix == "b" else 0.3) else "field"
        lines.append(",".join([f"{prefix or name}{i}", build.CLASSES[i % 3], split, place, *values]))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("manifest.csv", "\n".join(lines))
    return target.getvalue()


def predictions() -> bytes:
    """Probabilities of all of `a` and of the first rows of `b`; `a` is right in two of three, `b` in one of three."""
    lines = ["id," + ",".join(build.CLASSES)]
    for prefix, rows, wrong in (("a", FIRST, (0,)), ("b", COVERED, (0, 1)), ("c", SECOND, (0,))):
        for i in range(rows):
            chosen = (i + 1) % 3 if (i // 3) % 3 in wrong else i % 3
            lines.append(",".join([f"{prefix}{i}", *("0.8" if c == chosen else "0.1" for c in range(3))]))
    return "\n".join(lines).encode()


def imported(twin: Twin, session: Session, project: int, name: str, data: bytes) -> int:
    dataset = build.dataset(session, project, data)
    dataset.name, dataset.source = name, {**dataset.source, "options": {"images": "none"}}
    return dataset.id


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ids of project, model version and data sets by name."""
    with pytest.MonkeyPatch.context() as patch, fresh_home(tmp_path_factory.mktemp("tables"), patch):
        twin = Twin()
        files = {
            "a": table("a", FIRST, prefix="a"),
            "b": table("b", SECOND, prefix="b"),
            "bare": table("bare", SECOND, (), prefix="c"),
            "longer": table("longer", SECOND, ("e0", "e1", "e2"), prefix="c"),
            "same ids": table("same ids", SECOND, prefix="a"),
            "strange ids": table("strange ids", SECOND, prefix="z"),
        }
        with transaction() as session:
            project = build.project(session)
            found = {name: imported(twin, session, project, name, data) for name, data in files.items()}
            version = build.version(
                session, project, predictions(), format="predictions", architecture="", preprocessing={}
            )
        for dataset in found.values():
            twin.run_workflow("import_dataset", dataset)
        twin.run_workflow("check_model", version.id)
        yield {**found, "project": project, "version": version.id}


def request(ids: dict[str, int], second: str, encoder: str = "given") -> RunRequest:
    return RunRequest(
        model_version_id=ids["version"], dataset_id=ids["a"], split="val", kinds=["shift"], encoder=encoder,
        params={"shift": {"second": f"{ids[second]}/val"}},
    )  # fmt: skip


def audited(ids: dict[str, int], second: str, encoder: str = "given") -> AuditRun:
    with transaction() as session:
        run = request_audit.request_audit(session, ids["project"], None, request(ids, second, encoder))
    Twin().run_workflow("audit_run", run.id)
    with reading() as session:
        return session.get_one(AuditRun, run.id)


def test_a_table_that_covers_both_sets_is_compared(ids: dict[str, int]) -> None:
    run = audited(ids, "b")
    assert (run.status, run.error) == ("succeeded", "")
    summary = run.summary["shift"]
    assert (summary["second"]["rows"], summary["second"]["left_out"]) == (COVERED, SECOND - COVERED)
    change = summary["accuracy"]["change"]
    right = sum((i // 3) % 3 == 2 for i in range(COVERED))
    assert change["first"]["value"] == pytest.approx(2 / 3)
    assert change["second"]["value"] == pytest.approx(right / COVERED)
    assert "10 of the 60 images of the second set are left out" in " ".join(summary["doubts"])
    assert summary["space"]["verdict"] == "covariate"
    places = {row["name"]: row["prevalence"] for row in summary["groups"]["values"]}
    assert places["place: road"]["difference"]["low"] > 0
    with reading() as session:
        texts = [line.text for line in jobs.log_lines(session, "run", run.id)]
    assert any(text.startswith("The table has no predictions for 10 examples, such as b5") for text in texts)
    assert "predict of “b” / val: 60 rows to go in 1 shards" in texts
    folder = get_artifacts().local(run.details_keys["shift:accuracy"])
    assert (np.load(folder / "predictions.npy") >= 0).sum() == COVERED
    assert not np.load(folder / "pictured.npy").any()


@pytest.mark.parametrize(
    ("second", "encoder", "said"),
    [
        ("bare", "given", "There are no embeddings of both sets"),
        ("longer", "given", "embeddings of different lengths, 2 and 3"),
        ("b", "scenes", "There are no embeddings of both sets"),
    ],
)
def test_what_needs_embeddings_is_left_out_where_there_are_none(
    ids: dict[str, int], second: str, encoder: str, said: str
) -> None:
    run = audited(ids, second, encoder)
    assert (run.status, run.error) == ("succeeded", "")
    summary = run.summary["shift"]
    assert said in summary["space"]["unavailable"]
    assert summary["accuracy"]["change"]["p_value"] is not None
    assert summary["accuracy"]["unlabelled"] is not None


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("same ids", "60 examples of “same ids” have the id of another example of “a”, such as “a0”"),
        ("strange ids", "The model's table has predictions for none of the 60 examples of “strange ids” / val"),
    ],
)
def test_a_table_that_does_not_tell_the_sets_apart_is_refused(ids: dict[str, int], second: str, said: str) -> None:
    with reading() as session, pytest.raises(FieldError) as raised:
        request_audit.request_audit(session, ids["project"], None, request(ids, second))
    assert raised.value.field == "shift.second"
    assert raised.value.message.startswith(said)


def test_a_second_set_that_is_gone_ends_a_run_with_a_sentence(ids: dict[str, int]) -> None:
    with transaction() as session:
        gone = build.dataset(session, ids["project"], table("gone", 3, prefix="d"))
        run = request_audit.request_audit(
            session, ids["project"], None, request(ids, "b").model_copy(update={"seed": 9})
        )
        run.params = {"shift": {**run.params["shift"], "second": f"{gone.id}/val"}}
    Twin().run_workflow("audit_run", run.id)
    with reading() as session:
        ended = session.get_one(AuditRun, run.id)
        assert ended.status == "failed"
        assert "has no split “val”" in ended.error
    with transaction() as session:
        session.delete(session.get_one(Dataset, gone.id))
    with transaction() as session:
        again = request_audit.run_again(session, session.get_one(AuditRun, run.id), _user(session))
    Twin().run_workflow("audit_run", again.id)
    with reading() as session:
        assert f"The dataset {gone.id} is gone." in session.get_one(AuditRun, again.id).error


def _user(session: Session):  # type: ignore[no-untyped-def]
    from app.store.models import User

    user = User(email="x@example.org", name="X", password_hash="x")
    session.add(user)
    session.flush()
    return user
