"""Honest and hostile models where they really run: in the sandboxed child."""

import numpy as np
import pytest
import torch
from model_builders import STEPS, noise, pack, png, save_script, spec_for, tiny_net
from torch import nn

from app.errors import UserError
from app.loaders.models.preprocess import to_input
from workers.sandbox import Limits, Sandbox, SandboxMemory, SandboxTimeout, load_array

PREDICT = "app.loaders.models.predict:predict_shard"
INSPECT = "app.loaders.models.inspect:inspect_file"
SMOKE = "app.loaders.models.smoke:smoke"


def payload_for(box, path, kind, count=6):
    images, ranges = pack(box.folder / "shard", [png(p) for p in noise(count)])
    spec = spec_for(kind).model_dump(mode="json")
    files = {"file": str(path), "images": [str(images)], "ranges": str(ranges), "output": str(box.folder / "out")}
    return {**files, "spec": spec, "device": "cpu"}


def test_every_format_runs_behind_the_walls(saved, tmp_path):
    expected = tiny_net()(to_input(torch.from_numpy(noise(6)), STEPS)).detach().numpy()
    with Sandbox(tmp_path / "in", Limits(seconds=120), readable=list(saved.values())) as box:
        for kind, path in saved.items():
            assert box.request(INSPECT, {"file": str(path)})["format"] == kind
            heard = []
            result = box.request(PREDICT, payload_for(box, path, kind), on_progress=heard.append)
            assert (result["rows"], result["classes"], result["features"]) == (6, 3, 5)
            assert heard == [{"done": 6, "total": 6}]
            logits = load_array(box.folder / "out", "logits.npy", (6, 3), "float32")
            assert np.allclose(logits, expected, atol=1e-5), kind
        smoke = {"file": str(saved["onnx"]), "spec": spec_for("onnx").model_dump(mode="json"), "device": "cpu"}
        assert box.request(SMOKE, smoke)["output_shape"] == [8, 3]


class Endless(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.mean((2, 3))
        while bool(y.sum() == y.sum()):
            y = y + 1
        return y


class Greedy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        eaten = [torch.ones(134217728)]
        for _ in range(64):
            eaten.append(torch.ones(134217728))
        return x.mean((2, 3)) + eaten[0][0]


def test_endless_greedy_and_lying_models_end_in_a_sentence(tmp_path):
    endless, greedy = save_script(tmp_path / "endless", Endless()), save_script(tmp_path / "greedy", Greedy())
    pickled = tmp_path / "model.safetensors"
    torch.save(tiny_net().state_dict(), pickled)
    limits = Limits(seconds=120, memory_bytes=3 * 2**29)
    with Sandbox(tmp_path / "in", limits, readable=[endless, greedy, pickled]) as box:
        with pytest.raises(UserError, match=r"safetensors\.torch import save_file"):
            box.request(INSPECT, {"file": str(pickled)})
        with pytest.raises(SandboxMemory, match=r"the limit is 1\.5 GiB"):
            box.request(PREDICT, payload_for(box, greedy, "torchscript"))
        with pytest.raises(SandboxTimeout, match="within 10 s"):
            box.request(PREDICT, payload_for(box, endless, "torchscript"), timeout=10)
        with pytest.raises(UserError, match="The file is"):
            box.request(PREDICT, payload_for(box, endless, "onnx"))
