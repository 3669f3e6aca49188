"""Predictions-only models: tables as people export them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import UserError
from app.loaders.models.inspect import inspect_file
from app.loaders.models.predictions import align_predictions

IDS = ["a/1.png", "a/2.png", "b/ä b.png", "b/4.png"]
SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0], [0.3, 0.3, 0.4]], np.float32)
CLASSES = ["ant", "bee", "cat"]


@pytest.fixture
def manifest(tmp_path):
    order = [2, 0, 3, 1]
    table = {"row": list(range(4)), "example_id": [IDS[i] for i in order], "label": [0, 1, 2, 0]}
    pq.write_table(pa.table(table), tmp_path / "manifest.parquet")
    return tmp_path / "manifest.parquet"


@pytest.fixture
def align(tmp_path, manifest):
    def run(text=None, *, table=None, classes=(), outputs=None):
        path = tmp_path / "table"
        if table is not None:
            pq.write_table(pa.table(table), path)
        else:
            path.write_text(text, encoding="utf-8")
        payload = {"file": str(path), "manifest": str(manifest), "output": str(tmp_path / "out")}
        result = align_predictions(payload | {"classes": list(classes), "outputs": outputs}, lambda _: None)
        return result, np.load(tmp_path / "out" / "predictions.npy")

    return run


def as_csv(separator=",", names=CLASSES, identifier="example_id", rows=4, scores=SCORES):
    lines = [separator.join([identifier, *names])]
    lines += [separator.join([IDS[i], *map(str, scores[i])]) for i in range(rows)]
    return "\n".join(lines) + "\n"


def test_rows_come_in_the_manifests_order(align):
    result, logits = align(as_csv())
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(softmax, SCORES[[2, 0, 3, 1]], atol=1e-6)
    assert result == {
        "rows": 4,
        "classes": CLASSES,
        "outputs": "probabilities",
        "matched": 4,
        "missing": 0,
        "missing_examples": [],
        "unknown": 0,
        "unknown_examples": [],
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("prefix", ["", "prob_", "p:", "probability_"])
@pytest.mark.parametrize("identifier", ["example_id", "path", "filename", "id"])
def test_the_columns_are_found(align, separator, prefix, identifier):
    result, _ = align(as_csv(separator, [prefix + name for name in CLASSES], identifier))
    assert result["classes"] == CLASSES


def test_given_classes_pick_and_order_the_columns(align):
    table = {"path": IDS, "age": [1, 2, 3, 4], "label": [0, 0, 0, 0]} | dict(zip(CLASSES, SCORES.T, strict=True))
    result, logits = align(table=table, classes=["cat", "ant", "bee"])
    assert result["classes"] == ["cat", "ant", "bee"]
    assert np.allclose(np.exp(logits), SCORES[[2, 0, 3, 1]][:, [2, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float32(), 3), pa.large_list(pa.float32())])
def test_lists_in_parquet(align, kind):
    table = {"example_id": IDS, "probabilities": pa.array(SCORES.tolist(), kind)}
    result, logits = align(table=table, classes=CLASSES)
    assert np.allclose(np.exp(logits), SCORES[[2, 0, 3, 1]], atol=1e-6)
    assert align(table=table)[0]["classes"] == ["0", "1", "2"]
    assert result["classes"] == CLASSES


def test_logits_are_told_from_probabilities_and_kept(align):
    scores = SCORES * 10 - 4
    result, logits = align(as_csv(scores=scores))
    assert result["outputs"] == "logits"
    assert np.allclose(logits, scores[[2, 0, 3, 1]], atol=1e-5)
    assert align(as_csv(), outputs="logits")[1].max() == np.float32(1.0)


def test_missing_and_unknown_examples_are_counted(align):
    result, logits = align(as_csv(rows=2) + "strange.png,0.2,0.2,0.6\n")
    assert (result["matched"], result["missing"], result["unknown"]) == (2, 2, 1)
    assert result["missing_examples"] == [IDS[2], IDS[3]]
    assert result["unknown_examples"] == ["strange.png"]
    assert np.isnan(logits[[0, 2]]).all()
    assert np.isfinite(logits[[1, 3]]).all()


@pytest.mark.parametrize(
    ("text", "classes", "words"),
    [
        (as_csv() + f"{IDS[0]},0.1,0.1,0.8\n", (), "'a/1.png' occurs twice"),
        (as_csv(identifier="key"), (), "No column of example ids.* key, ant"),
        (as_csv(names=["ant", "bee", "dog"]), CLASSES, "No column of numbers for the class 'cat'"),
        ("example_id,ant\na/1.png,0.5\n", (), "Fewer than two"),
        ("example_id,ant,bee\na/1.png,high,low\n", (), "Fewer than two"),
        (as_csv(rows=1) + f"{IDS[1]},0.1,,0.8\n", (), "bee has an empty entry"),
        (as_csv(rows=1) + f"{IDS[1]},0.1,nan,0.8\n", (), "'a/2.png' has a score that is not a finite number"),
        (as_csv(rows=1) + f"{IDS[1]},0.1\n", (), "cannot be read"),
        ("example_id,ant,bee\nx.png,0.5,0.5\n", (), "ids here look like 'b/ä b.png', there 'x.png'"),
        ("example_id,ant,bee\n", (), "no rows"),
    ],
)
def test_wrong_tables_get_a_sentence(align, text, classes, words):
    with pytest.raises(UserError, match=words):
        align(text, classes=classes)


def test_declared_probabilities_must_be_some(align):
    with pytest.raises(UserError, match="Choose logits"):
        align(as_csv(scores=SCORES * 2), outputs="probabilities")


def test_lists_of_different_lengths(align):
    table = {"example_id": IDS, "logits": [[1.0, 2.0], [1.0], [1.0, 2.0], [3.0, 4.0]]}
    with pytest.raises(UserError, match="differ in length"):
        align(table=table)


def test_a_damaged_parquet(align, tmp_path):
    (tmp_path / "table").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(UserError, match="cannot be read"):
        inspect_file({"file": str(tmp_path / "table")}, lambda _: None)


def test_a_table_of_many_parts(tmp_path):
    count = 40_000
    ids = [f"image {i}" for i in range(count)]
    scores = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    pq.write_table(pa.table({"row": range(count), "example_id": ids[::-1]}), tmp_path / "manifest")
    table = pa.table({"example_id": ids, "a": scores[:, 0], "b": scores[:, 1]})
    pq.write_table(table, tmp_path / "table", row_group_size=9_000)
    payload = {name: str(tmp_path / name) for name in ("manifest", "output")} | {"file": str(tmp_path / "table")}
    assert align_predictions(payload, lambda _: None)["matched"] == count
    assert np.array_equal(np.load(tmp_path / "output" / "predictions.npy"), scores[::-1])


def test_inspection_of_a_table(tmp_path):
    (tmp_path / "table").write_text(as_csv())
    found = inspect_file({"file": str(tmp_path / "table")}, lambda _: None)
    assert (found["format"], found["classes"], found["questions"]) == ("predictions", CLASSES, [])
