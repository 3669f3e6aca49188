"""What the sandboxed child answers when it is asked for gradients of networks of every sort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from model_builders import CLASSES, LAYERS, SIDE, STEPS, png, save_export, save_onnx, save_safetensors, tiny_net
from onnx import helper
from torch import nn

from app.audits.gradients import why_none
from app.errors import UserError
from app.loaders.models.graph import normalised_graph
from app.loaders.models.model_shard import run_shard
from app.loaders.models.spec import ModelSpec

ROWS = 6


def request(folder: Path, *files: Path, **spec: Any) -> dict[str, Any]:
    """Six images of noise and their labels, and the files as checkpoints."""
    rng = np.random.default_rng(0)
    images = [png(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)) for _ in range(ROWS)]
    (folder / "images").write_bytes(b"".join(images))
    np.save(folder / "ends.npy", np.cumsum([0, *map(len, images)]))
    np.save(folder / "labels.npy", np.arange(ROWS) % 3)
    stated = {"format": "safetensors", "preprocessing": STEPS.model_dump(mode="json"), "classes": CLASSES} | spec
    if stated["format"] == "safetensors":
        stated.setdefault("architecture", LAYERS)
    return {
        "files": [str(file) for file in files], "spec": stated, "images": [str(folder / "images")],
        "ranges": str(folder / "ends.npy"), "labels": str(folder / "labels.npy"),
        "function": "app.audits.influence.gradients:gradients", "params": {"features": 4096}, "seed": 0,
        "output": str(folder / "out"), "device": "cpu",
    }  # fmt: skip


def arrays(payload: dict[str, Any]) -> dict[str, np.ndarray]:
    answer = run_shard(payload, lambda _: None)
    found = {name: np.load(Path(payload["output"]) / f"{name}.npy") for name in answer["arrays"]}
    assert {name: [list(array.shape), str(array.dtype)] for name, array in found.items()} == answer["arrays"]
    return found


def reason(payload: dict[str, Any]) -> str:
    """The sentence in place of gradients."""
    found = arrays(payload)
    assert list(found) == ["reason"]
    return why_none({"gradients.reason": found["reason"]})


def products(payload: dict[str, Any]) -> np.ndarray:
    found = arrays(payload)
    rows = found["codes-0"].astype(np.float64) * found["scales-0"][:, None]
    return rows @ rows.T


def with_layer(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.Flatten(), nn.Linear(4 * (SIDE - 2) ** 2, 3))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.BatchNorm2d(4), "is batch normalisation in training mode, where an example's gradient is not its own"),
        (nn.Dropout(0.5), "is dropout in training mode, where an example's gradient is not its own"),
    ],
    ids=["batch norm", "dropout"],
)
def test_training_mode_is_named_with_what_to_do(tmp_path: Path, layer: nn.Module, words: str) -> None:
    said = reason(request(tmp_path, save_export(tmp_path / "n.pt2", with_layer(layer).train()), format="export"))
    assert words in said
    assert "Call model.eval() before torch.export, and upload that." in said


def test_a_graph_bound_to_one_image_says_so(tmp_path: Path) -> None:
    file = save_export(tmp_path / "n.pt2", with_layer(nn.BatchNorm2d(4)).eval(), fixed=1)
    said = reason(request(tmp_path, file, format="export"))
    assert said.startswith("The graph runs with one batch size only")
    assert "Export it with the batch as a dynamic axis" in said


def test_operations_in_place_are_no_obstacle(tmp_path: Path) -> None:
    network = with_layer(nn.BatchNorm2d(4), nn.ReLU(inplace=True)).eval()
    assert "codes-0" in arrays(request(tmp_path, save_export(tmp_path / "n.pt2", network), format="export"))


class Two(nn.Module):
    """Class scores behind something else, which alone is of no use."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.other = with_layer(), nn.Linear(4 * (SIDE - 2) ** 2, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body[:-1](x)
        return self.other(features), self.body[-1](features)


def test_of_two_outputs_the_one_with_the_classes_is_attributed(tmp_path: Path) -> None:
    network = Two().eval()
    both = request(tmp_path, save_export(tmp_path / "two.pt2", network), format="export")
    alone = request(tmp_path, save_export(tmp_path / "one.pt2", network.body), format="export")
    np.testing.assert_allclose(products(both), products(alone), rtol=0.05, atol=1e-3)


def test_two_outputs_that_could_both_be_the_classes_are_named(tmp_path: Path) -> None:
    network = Two().eval()
    network.other = nn.Linear(4 * (SIDE - 2) ** 2, 3)
    with pytest.raises(UserError, match="2 matrices that could be the class scores"):
        arrays(request(tmp_path, save_export(tmp_path / "n.pt2", network), format="export"))


def test_a_single_output_is_refused(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 1))
    with pytest.raises(UserError, match=r"single output.*one output per class"):
        arrays(request(tmp_path, save_export(tmp_path / "n.pt2", network), format="export", classes=()))


@pytest.mark.parametrize("form", ["export", "onnx"])
def test_probabilities_have_the_gradients_of_their_logits(tmp_path: Path, form: str) -> None:
    network = tiny_net()
    plain = products(request(tmp_path, save_safetensors(tmp_path / "n.safetensors", network)))
    if form == "export":
        file = save_export(tmp_path / "n.pt2", nn.Sequential(network, nn.Softmax(1)).eval())
    else:
        model = onnx.load(save_onnx(tmp_path / "n.onnx", network))
        model.graph.node[-1].output[0] = "logits"
        model.graph.node.append(helper.make_node("Softmax", ["logits"], ["scores"]))
        file = tmp_path / "soft.onnx"
        onnx.save(model, file)
    found = products(request(tmp_path, file, format=form, outputs="probabilities"))
    np.testing.assert_allclose(found, plain, rtol=0.05, atol=0.02 * np.abs(plain).max())


class Normed(nn.Module):
    """Probabilities that no softmax made."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        odds = x.exp()
        return odds / odds.sum(1, keepdim=True)


def test_probabilities_without_a_softmax_count_as_their_logarithms(tmp_path: Path) -> None:
    network = tiny_net()
    plain = products(request(tmp_path, save_safetensors(tmp_path / "n.safetensors", network)))
    file = save_export(tmp_path / "n.pt2", nn.Sequential(network, Normed()).eval())
    found = products(request(tmp_path, file, format="export", outputs="probabilities"))
    np.testing.assert_allclose(found, plain, rtol=0.05, atol=0.02 * np.abs(plain).max())


def test_onnx_checkpoints_of_different_networks_are_named(tmp_path: Path) -> None:
    first, last = save_onnx(tmp_path / "a.onnx", tiny_net()), save_onnx(tmp_path / "b.onnx", tiny_net(1))
    model = onnx.load(first)
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if tensor.name in {"3_weight", "3_bias"}:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.concatenate([array, array]), tensor.name))
        if tensor.name == "last":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.concatenate([array, array]), tensor.name))
    onnx.save(model, first)
    with pytest.raises(
        UserError, match="Checkpoint 1 of 2 is another network than the last one: a weight has the shape"
    ):
        arrays(request(tmp_path, first, last, format="onnx"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_checkpoint_is_named(tmp_path: Path, value: float) -> None:
    network = tiny_net()
    good = save_safetensors(tmp_path / "good.safetensors", network)
    network[3].weight.data.fill_(value)
    bad = save_safetensors(tmp_path / "bad.safetensors", network)
    with pytest.raises(
        UserError, match=r"Checkpoint 2 of 2: .* is not finite\. The checkpoint may have diverged; leave it"
    ):
        arrays(request(tmp_path, good, bad))


def test_random_numbers_in_the_forward_pass_are_named(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    file = save_export(tmp_path / "n.pt2", with_layer(Noisy()).eval())
    assert "draws random numbers" in reason(request(tmp_path, file, format="export"))


class Places(nn.Module):
    """Makes tensors on the processor, and holds a constant there."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[..., torch.tensor([2, 0, 1, 3, 5, 4])] + torch.arange(6, device=x.device)
        return x + torch.zeros(x.shape[0], 1, 1, 1)


def test_what_tracing_wrote_down_moves_with_the_graph(tmp_path: Path) -> None:
    file = save_export(tmp_path / "n.pt2", with_layer(Places()).eval())
    payload = request(tmp_path, file, format="export")
    graph = normalised_graph(file, ModelSpec.model_validate(payload["spec"]), torch.device("meta"))
    assert graph(torch.zeros(2, 3, SIDE, SIDE, device="meta")).device.type == "meta"
    assert "codes-0" in arrays(payload)


def test_a_label_beyond_the_outputs_is_named(tmp_path: Path) -> None:
    payload = request(tmp_path, save_safetensors(tmp_path / "n.safetensors", tiny_net()))
    np.save(tmp_path / "labels.npy", np.array([0, 1, 2, 7, 1, -1]))
    with pytest.raises(UserError, match=r"label number 7, but the network has 3 outputs \(0 to 2\)\. Name one class"):
        arrays(payload)


def test_pictures_of_another_size_are_brought_to_the_network_s(tmp_path: Path) -> None:
    payload = request(tmp_path, save_safetensors(tmp_path / "n.safetensors", tiny_net()))
    pictures = [png(np.full((5 + 9 * i, 40 - 5 * i, 3), 40 * i, np.uint8)) for i in range(ROWS)]
    (tmp_path / "images").write_bytes(b"".join(pictures))
    np.save(tmp_path / "ends.npy", np.cumsum([0, *map(len, pictures)]))
    assert arrays(payload)["codes-0"].shape[0] == ROWS
