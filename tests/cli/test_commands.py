"""The command line over a finished run and an empty installation; what is submitted is not run here."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from jsonschema import validate
from sqlalchemy import func, select
from typer.testing import CliRunner, Result

from app import cli
from app.cli import commands, sentence
from app.errors import FaultlineError, UserError
from app.store.models import AuditRun, Dataset, ModelVersion, Upload
from app.store.repositories import registry
from app.store.session import reading
from tests.pictures import picture
from tests.web.conftest import Results

SCORES = ["id", "split", "role", "label", "prediction", "confidence", "decision", "slices"]


def said(*arguments: str) -> str:
    """Run a command that succeeds; return its standard output."""
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, list(arguments))


def refused(*arguments: str) -> str:
    """Run a command that a person got wrong; return the sentence."""
    done = run(*arguments)
    assert isinstance(done.exception, FaultlineError), done.output
    return sentence(done.exception)


def count(table: type[AuditRun] | type[Dataset] | type[ModelVersion] | type[Upload]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def weights(path: Path) -> Path:
    """A safetensors file of one linear layer."""
    values = np.zeros((2, 3), np.float32).tobytes()
    head = json.dumps({"weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, len(values)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + values)
    return path


@pytest.fixture
def model(results: Results) -> str:
    """Name of the finished run's model."""
    return str(json.loads(said("models", "list", "--json"))[0]["name"])


@pytest.fixture
def dataset(results: Results) -> str:
    """Name of the finished run's data set."""
    return str(json.loads(said("datasets", "list", "--json"))[0]["name"])


class TestFinishedRun:
    def test_lists(self, results: Results, model: str, dataset: str) -> None:
        (listed,) = json.loads(said("runs", "list", "--json"))
        assert (listed["id"], listed["status"]) == (results.built.run_id, "succeeded")
        assert "succeeded" in said("runs", "list")
        assert model in said("models", "list")
        assert dataset in said("datasets", "list")

    def test_show_tells_confirmed_findings_with_class_and_interval(self, results: Results) -> None:
        text = said("runs", "show", str(results.built.run_id))
        found = json.loads(said("runs", "show", str(results.built.run_id), "--json"))["findings"]
        confirmed = [finding for finding in found if finding["evidence"] == "confirmed"]
        assert f"{len(confirmed)} confirmed, {len(found) - len(confirmed)} without enough evidence" in text
        for finding in confirmed:
            assert f"{finding['class']}: {finding['title']}" in text or not finding["class"]
            assert f"n {finding['metrics']['errors']['n']})" in text
        assert "cat" in {finding["class"] for finding in confirmed}

    def test_show_tells_models_and_data(self, results: Results, model: str, dataset: str) -> None:
        assert said("models", "show", "1").startswith(f"{model} version 1")
        assert json.loads(said("models", "show", "1", "1", "--json"))["number"] == 1
        assert said("datasets", "show", "1").startswith(dataset)
        assert json.loads(said("datasets", "show", "1", "--json"))["status"] == "succeeded"

    def test_export_writes_what_it_names(self, results: Results, tmp_path: Path) -> None:
        folder = tmp_path / "ü mit leer" / "report"
        said("export", str(results.built.run_id), "--to", str(folder), "--title", "Nightly")
        content = json.loads((folder / "report.json").read_text())
        validate(content, json.loads((folder / "report.schema.json").read_text()))
        assert content["title"] == "Nightly"
        assert 10_000 < (folder / "report.html").stat().st_size < 10_000_000
        table = pq.read_table(folder / "scores.parquet")
        assert table.column_names == SCORES
        assert set(table["role"].to_pylist()) == {"fit", "confirm"}
        assert set(table["label"].to_pylist()) <= set(content["data"]["classes"])
        keys = {finding["key"] for finding in content["findings"]}
        assert {key for row in table["slices"].to_pylist() for key in row} <= keys

    def test_export_refuses_a_file_for_a_folder(self, results: Results, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("mine")
        assert "is a file" in refused("export", str(results.built.run_id), "--to", str(tmp_path / "taken"))
        assert (tmp_path / "taken").read_text() == "mine"

    def test_an_ended_run_is_neither_cancelled_nor_resumed(self, results: Results) -> None:
        assert "ended already" in refused("runs", "cancel", str(results.built.run_id))
        assert "Only a run that failed" in refused("runs", "resume", str(results.built.run_id))


class TestAudits:
    def audit(self, model: str, dataset: str, *more: str) -> tuple[str, ...]:
        return ("audit", model, dataset, "--split", "val", "--no-wait", *more)

    def test_an_audit_is_submitted_cancelled_and_resumed(self, model: str, dataset: str) -> None:
        number = said(*self.audit(model, dataset, "--seed", "7")).split()[1].rstrip(":")
        assert "Run 1:" not in said(*self.audit(model, dataset, "--seed", "8"))
        assert json.loads(said("runs", "show", number, "--json"))["status"] == "queued"
        said("runs", "cancel", number)
        assert json.loads(said("runs", "show", number, "--json"))["status"] == "cancelled"
        assert "seed 7" in said("runs", "again", number, "--no-wait")
        assert "seed 9" in said("runs", "again", number, "--seed", "9", "--no-wait")
        assert "seed 7" not in said("runs", "again", number, "--new-seed", "--no-wait").splitlines()[0].split(", ")
        said("runs", "resume", number, "--no-wait")
        assert json.loads(said("runs", "show", number, "--json"))["status"] == "queued"

    @pytest.mark.parametrize(
        ("more", "sentence_"),
        [
            (("--kind", "nope"), "There is no audit kind “nope”"),
            (("--encoder", "nope"), "There is no encoder “nope”"),
            (("--split", "nope"), "no rows in a split “nope”"),
            (("--params", "{"), "--params is not JSON"),
            (("--params", "[]"), "--params takes an object"),
            (("--params", '{"nope": {}}'), "nothing called “nope” to set; there is slices"),
            (("--params", '{"slices": {"fdrr": 1}}'), "nothing called “fdrr” to set"),
            (("--params", '{"slices": {"fdr": 7}}'), "slices.fdr: Input should be less than 0.5"),
        ],
    )
    def test_mistakes_are_sentences_and_submit_nothing(
        self, model: str, dataset: str, more: tuple[str, ...], sentence_: str
    ) -> None:
        before = count(AuditRun)
        assert sentence_ in refused(*self.audit(model, dataset, *more))
        assert count(AuditRun) == before

    def test_what_is_not_there(self, model: str, dataset: str) -> None:
        assert "no model “nope”" in refused(*self.audit("nope", dataset))
        assert "has no version 9" in refused(*self.audit(f"{model}@9", dataset))
        assert "no data set “nope”" in refused(*self.audit(model, "nope"))
        assert "no run 99" in refused("runs", "show", "99")
        assert "no run 99" in refused("export", "99", "--to", "nowhere")
        assert "no model “99”" in refused("models", "show", "99")
        assert "no data set “99”" in refused("datasets", "show", "99")


class TestAdding:
    def test_a_data_set(self, installation: Path, tmp_path: Path) -> None:
        (tmp_path / "rows of é.csv").write_text("path,label\na.png,cat\n")
        (tmp_path / "a.png").write_bytes(picture("cat", "black", "grass", 48, 1.0))
        assert "rows of é" in said("datasets", "add", str(tmp_path / "rows of é.csv"), "--no-wait")
        (listed,) = json.loads(said("datasets", "list", "--json"))
        assert (listed["name"], listed["status"]) == ("rows of é", "queued")

    def test_a_model_and_its_second_version(self, installation: Path, tmp_path: Path) -> None:
        file = str(weights(tmp_path / "net.safetensors"))
        added = ("models", "add", file, "--name", "Net", "--classes", "a,b", "--size", "8x9", "--no-wait")
        assert said(*added) == "Model 1, version 1\n"
        (tmp_path / "recipe.json").write_text('{"epochs": 3, "learning_rate": 0.1}')
        assert said(*added, "--normalise", "half", "--recipe", str(tmp_path / "recipe.json")) == "Model 1, version 2\n"
        with reading() as session:
            recipes = [version.claim["recipe"] for version in registry.versions(session, 1)]
        assert sorted(recipe["epochs"] if recipe else 0 for recipe in recipes) == [0, 3]
        spec = json.loads(said("models", "show", "1", "--json"))["spec"]
        assert (spec["classes"], spec["preprocessing"]["size"]) == (["a", "b"], [8, 9])
        assert spec["preprocessing"]["mean"] == [0.5, 0.5, 0.5]

    @pytest.mark.parametrize(
        ("data", "sentence_"),
        [
            (b"", "empty (0 bytes)"),
            (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01.", "Python pickle"),
            (bytes(range(256)) * 9, "no format that Faultline reads"),
        ],
    )
    def test_a_bad_model_leaves_nothing(self, installation: Path, tmp_path: Path, data: bytes, sentence_: str) -> None:
        (tmp_path / "bad.pt").write_bytes(data)
        assert sentence_ in refused("models", "add", str(tmp_path / "bad.pt"), "--no-wait")
        assert (count(ModelVersion), count(Upload)) == (0, 0)

    def test_sources_that_are_not_there(self, installation: Path, tmp_path: Path) -> None:
        assert "is not there" in refused("datasets", "add", str(tmp_path / "none.zip"))
        assert "a folder; pack it" in refused("datasets", "add", str(tmp_path))
        assert "Name a file" in refused("datasets", "add")
        assert "none is configured" in refused("datasets", "add", "--url", "/etc")
        assert count(Dataset) == 0


class TestProcess:
    def test_a_mistake_ends_with_one_line_and_status_1(
        self, installation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["faultline", "runs", "show", "99"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
        assert capsys.readouterr().err == "faultline: There is no run 99. `faultline runs list` lists them.\n"

    def test_the_file_system_s_refusals_are_sentences(self) -> None:
        assert sentence(OSError(28, "No space left on device", "/x")) == "No space left on device: /x."
        assert sentence(UserError("Plain.")) == "Plain."

    def test_no_worker_is_alive(self, installation: Path) -> None:
        assert run("doctor", "--workers").exit_code == 1
