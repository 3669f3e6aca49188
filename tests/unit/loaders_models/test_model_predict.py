"""A shard: from packed files to arrays, bad images included."""

import json

import numpy as np
import pytest
import torch
from model_builders import SIDE, STEPS, noise, pack, png, save_torchscript, spec_for, tiny_net
from pydantic import ValidationError

from app.errors import UserError
from app.loaders.models import predict as predict_module
from app.loaders.models.packed import PackedImages
from app.loaders.models.predict import predict_shard
from app.loaders.models.preprocess import to_input


def expected(pixels):
    with torch.no_grad():
        x = to_input(torch.from_numpy(pixels), STEPS)
        return tiny_net()(x).numpy(), tiny_net()[:5](x).numpy()


def shard(saved, folder, files, **changes):
    images, ranges = pack(folder, files)
    payload = {
        "file": str(saved["safetensors"]),
        "spec": spec_for("safetensors").model_dump(mode="json"),
        "images": [str(images)],
        "ranges": str(ranges),
        "output": str(folder / "out"),
        "device": "cpu",
        **changes,
    }
    return json.loads(json.dumps(payload))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_arrays_hold_every_row_in_order(saved, tmp_path, batch_size):
    pixels = noise(50)
    heard = []
    payload = shard(saved, tmp_path, [png(p) for p in pixels], batch_size=batch_size)
    result = predict_shard(payload, heard.append)
    logits, features = expected(pixels)
    assert np.allclose(np.load(tmp_path / "out" / "logits.npy"), logits, atol=1e-5)
    assert np.allclose(np.load(tmp_path / "out" / "features.npy"), features, atol=1e-5)
    assert {k: result[k] for k in ("rows", "classes", "features", "unreadable")} == {
        "rows": 50,
        "classes": 3,
        "features": 5,
        "unreadable": [],
    }
    assert heard[-1] == {"done": 50, "total": 50}
    assert [news["done"] for news in heard] == sorted(news["done"] for news in heard)


def test_bad_images_are_rows_of_nan_and_no_more(saved, tmp_path):
    pixels = noise(20)
    files = [png(p) for p in pixels]
    files[3], files[11], files[19] = b"", b"no image", png(pixels[19])[:40]
    result = predict_shard(shard(saved, tmp_path, files, batch_size=8), lambda _: None)
    logits, features = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("logits", "features"))
    good = [row for row in range(20) if row not in (3, 11, 19)]
    assert [entry["row"] for entry in result["unreadable"]] == [3, 11, 19]
    assert "0 bytes" in result["unreadable"][0]["message"]
    assert np.isnan(logits[[3, 11, 19]]).all()
    assert np.isnan(features[[3, 11, 19]]).all()
    assert np.allclose(logits[good], expected(pixels)[0][good], atol=1e-5)


def test_a_shard_of_bad_images_alone(saved, tmp_path):
    result = predict_shard(shard(saved, tmp_path, [b"x", b"y"]), lambda _: None)
    assert len(result["unreadable"]) == 2
    assert np.isnan(np.load(tmp_path / "out" / "logits.npy")).all()


def test_large_images_are_refused_one_by_one(saved, tmp_path):
    files = [png(p) for p in noise(2)] + [png(noise(1, side=40)[0])]
    result = predict_shard(shard(saved, tmp_path, files, max_pixels=1000), lambda _: None)
    assert [entry["row"] for entry in result["unreadable"]] == [2]
    assert "40 × 40 pixels; the limit is 1,000" in result["unreadable"][0]["message"]


def test_rows_may_lie_in_several_packs_in_any_order(saved, tmp_path):
    pixels = noise(6)
    files = [png(p) for p in pixels]
    first, _ = pack(tmp_path / "a", files[:3])
    second, _ = pack(tmp_path / "b", [b"gap", *files[3:]])
    lengths = [len(file) for file in files]
    offsets = [0, *np.cumsum(lengths[:2]), 3, *(3 + np.cumsum(lengths[3:5]))]
    triples = np.array([[row // 3, offsets[row], len(files[row])] for row in (5, 0, 3, 1)], np.uint64)
    np.save(tmp_path / "index.npy", triples)
    payload = shard(saved, tmp_path, [], images=[str(first), str(second)], ranges=str(tmp_path / "index.npy"))
    predict_shard(payload, lambda _: None)
    assert np.allclose(np.load(tmp_path / "out" / "logits.npy"), expected(pixels[[5, 0, 3, 1]])[0], atol=1e-5)


@pytest.mark.parametrize("row", [[1, 0, 3], [0, 2, 9], [0, -1, 2], [0, 0, -1]])
def test_tables_that_point_outside_are_refused(tmp_path, row):
    (tmp_path / "pack").write_bytes(b"1234567890")
    with pytest.raises(UserError, match="points outside"):
        PackedImages([tmp_path / "pack"], np.array([row]))


def test_the_model_stays_loaded_until_another_comes(saved, tmp_path, monkeypatch):
    loads = []
    original = predict_module.load_model
    monkeypatch.setattr(predict_module, "load_model", lambda *a: loads.append(a[0]) or original(*a))
    monkeypatch.setattr(predict_module, "_loaded", {})
    payload = shard(saved, tmp_path, [png(p) for p in noise(2)])
    for _ in range(3):
        predict_shard(payload, lambda _: None)
    assert len(loads) == 1
    other = payload | {"file": str(saved["onnx"]), "spec": spec_for("onnx").model_dump(mode="json")}
    predict_shard(other, lambda _: None)
    assert len(loads) == 2
    assert len(predict_module._loaded) == 1


def test_an_old_pickle_of_ranges_is_not_read(saved, tmp_path):
    payload = shard(saved, tmp_path, [png(noise(1)[0])])
    np.save(tmp_path / "offsets.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        predict_shard(payload, lambda _: None)


def test_unknown_fields_are_refused(saved, tmp_path):
    with pytest.raises(ValidationError, match="batchsize"):
        predict_shard(shard(saved, tmp_path, [], batchsize=3), lambda _: None)


def test_a_network_of_features_only_at_times(saved, tmp_path):
    """Formats that hide the features leave no file."""

    class Hidden(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    path = save_torchscript(tmp_path / "model", Hidden())
    payload = shard(saved, tmp_path, [png(p) for p in noise(3, SIDE)], file=str(path))
    payload["spec"] = spec_for("torchscript").model_dump(mode="json")
    assert predict_shard(payload, lambda _: None)["features"] is None
    assert not (tmp_path / "out" / "features.npy").exists()
