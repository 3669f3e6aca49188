"""The formats against each other and against the network itself; files that mean harm."""

import json
import shutil
import zipfile

import numpy as np
import onnx
import pytest
import torch
from model_builders import (
    CLASSES,
    SIDE,
    STEPS,
    save_export,
    save_onnx,
    save_script,
    save_torchscript,
    spec_for,
    tiny_net,
)
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from app.errors import UserError
from app.loaders.models.formats import export
from app.loaders.models.outputs import BadOutput
from app.loaders.models.runtime import load_model
from app.loaders.models.sniff import NotAModel, PickleRefused
from app.loaders.models.spec import ModelSpec

KINDS = ("safetensors", "torchscript", "export", "onnx")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 2, 5, 130])
def test_every_format_gives_the_networks_scores_and_features(saved, kind, rows):
    net = tiny_net()
    x = torch.randn(rows, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(rows))
    scores, features = load_model(saved[kind], spec_for(kind)).predict(x)
    with torch.no_grad():
        assert torch.allclose(scores, net(x), atol=1e-5)
        assert torch.allclose(features, net[:5](x), atol=1e-5)
    assert scores.dtype == features.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_features_can_be_left_out(saved, kind):
    model = load_model(saved[kind], spec_for(kind, penultimate=False))
    assert model.predict(torch.zeros(2, 3, SIDE, SIDE))[1] is None


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_number_of_classes(saved, kind):
    with pytest.raises(BadOutput, match="3 outputs, but 2 classes"):
        load_model(saved[kind], spec_for(kind, classes=("a", "b")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_input_size_is_explained(saved, kind):
    steps = STEPS.model_copy(update={"size": (16, 16)})
    with pytest.raises(UserError, match="does not take images of 3 × 16 × 16"):
        load_model(saved[kind], spec_for(kind, preprocessing=steps))


def test_a_declared_format_must_be_the_files(saved):
    with pytest.raises(UserError, match="The file is onnx, but the model was declared as export"):
        load_model(saved["onnx"], spec_for("export"))


@pytest.mark.parametrize("kind", ["torchscript", "export", "onnx"])
def test_graphs_bound_to_one_batch(tmp_path, kind):
    class Bound(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny_net()

        def forward(self, x):
            return self.net(x.reshape(4, 3, SIDE, SIDE))

    net = tiny_net()
    path = tmp_path / "bound"
    if kind == "torchscript":
        save_torchscript(path, Bound(), batch=4)
    elif kind == "export":
        save_export(path.with_suffix(".pt2"), Bound(), fixed=4).rename(path)
    else:
        save_onnx(path, net, fixed=4)
    model = load_model(path, spec_for(kind))
    x = torch.randn(10, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    scores, _ = model.predict(x)
    assert model.fixed_batch == 4
    with torch.no_grad():
        assert torch.allclose(scores, net(x), atol=1e-5)


class Returning(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.net, self.kind = tiny_net(), kind

    def forward(self, x):
        y = self.net(x)
        return {
            "tuple": lambda: (y, x),
            "dict": lambda: {"logits": y, "image": x},
            "list": lambda: [y],
            "twice": lambda: (y, y + 1),
            "nan": lambda: y / (y - y),
            "features": lambda: x,
            "softmax": lambda: y.softmax(1),
            "long": lambda: y.argmax(1),
        }[self.kind]()


@pytest.mark.parametrize("fmt", ["torchscript", "export"])
@pytest.mark.parametrize("kind", ["tuple", "dict", "list", "softmax"])
def test_containers_are_looked_into(tmp_path, fmt, kind):
    save = save_torchscript if fmt == "torchscript" else save_export
    path = save(tmp_path / "model.pt2", Returning(kind).eval())
    outputs = "probabilities" if kind == "softmax" else "logits"
    x = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    scores, features = load_model(path, spec_for(fmt, outputs=outputs)).predict(x)
    with torch.no_grad():
        expected = tiny_net()(x).log_softmax(1) if kind == "softmax" else tiny_net()(x)
        assert torch.allclose(scores, expected, atol=1e-5)
        if features is not None:
            assert torch.allclose(features, tiny_net()[:5](x), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "words"), [("twice", "2 matrices"), ("features", "2×3×8×8"), ("long", "int64 tensor of shape 2")]
)
def test_other_returns_are_explained(tmp_path, kind, words):
    path = save_torchscript(tmp_path / "model", Returning(kind).eval())
    with pytest.raises(BadOutput, match=words):
        load_model(path, spec_for("torchscript"))


def test_nan_is_an_error(tmp_path):
    path = save_torchscript(tmp_path / "model", Returning("nan").eval())
    with pytest.raises(BadOutput, match="NaN or infinity for 2 of 2 images"):
        load_model(path, spec_for("torchscript")).predict(torch.rand(2, 3, SIDE, SIDE))


def test_logits_declared_as_probabilities(saved):
    model = load_model(saved["onnx"], spec_for("onnx", outputs="probabilities"))
    with pytest.raises(BadOutput, match="Choose logits"):
        model.predict(torch.rand(2, 3, SIDE, SIDE))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x.mean((2, 3)))
        if bool(y.sum() > 1e9):
            y = y * 2
        return self.head(y)


def test_scripts_with_branches(tmp_path):
    net = Branching().eval()
    path = save_script(tmp_path / "model", net)
    x = torch.rand(3, 3, SIDE, SIDE)
    scores, features = load_model(path, spec_for("torchscript")).predict(x)
    with torch.no_grad():
        assert torch.allclose(scores, net(x), atol=1e-6)
        assert torch.allclose(features, net.body(x.mean((2, 3))), atol=1e-6)


# torch.export


def rewrite(source, target, change):
    """Copy an archive; `change` maps (name, bytes) to bytes, or None to leave the member out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


class Evil:
    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("kind", ["weights", "constants"])
@pytest.mark.parametrize("path_name", ["weight_0", "opaque_obj_0", "custom_obj_0"])
def test_entries_that_ask_for_pickle_are_refused(saved, tmp_path, kind, path_name, capsys):
    def change(name, data):
        if name.endswith(f"model_{kind}_config.json"):
            entry = {"path_name": path_name, "is_param": True, "use_pickle": True, "tensor_meta": None}
            return json.dumps({"config": {"0.weight": entry}}).encode()
        return data

    path = rewrite(saved["export"], tmp_path / "evil.pt2", change)
    with pytest.raises(PickleRefused, match=r"0\.weight is stored as a pickle"):
        load_model(path, spec_for("export"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("path_name", ["opaque_obj_0", "custom_obj_0", "../../x"])
def test_a_custom_object_that_denies_being_a_pickle_is_refused(saved, tmp_path, path_name):
    def change(name, data):
        if name.endswith("model_constants_config.json"):
            return json.dumps({"config": {"c": {"path_name": path_name, "use_pickle": False}}}).encode()
        return data

    with pytest.raises(PickleRefused):
        load_model(rewrite(saved["export"], tmp_path / "evil.pt2", change), spec_for("export"))


def test_old_archives_with_pickled_weights_are_refused(saved, tmp_path):
    path = rewrite(
        saved["export"], tmp_path / "old.pt2", lambda name, data: None if name.endswith("_config.json") else data
    )
    with pytest.raises(PickleRefused, match="old versions of torch"):
        load_model(path, spec_for("export"))


def test_sample_inputs_and_libraries_are_left_behind(saved, tmp_path, capsys):
    import pickle

    def change(name, data):
        return pickle.dumps(Evil()) if "/sample_inputs/" in name else data

    evil = rewrite(saved["export"], tmp_path / "evil.pt2", change)
    with zipfile.ZipFile(evil, "a") as archive:
        top = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{top}/data/aotinductor/model/library.so", b"\x7fELF")
        archive.writestr(f"{top}/extra/anything", b"x")
    export.copy_without_pickles(evil, tmp_path / "clean.pt2")
    with zipfile.ZipFile(tmp_path / "clean.pt2") as clean:
        kept = {name.partition("/")[2]: clean.getinfo(name).file_size for name in clean.namelist()}
    assert kept["data/sample_inputs/model.pt"] == 0
    assert not any("aotinductor" in name or "extra" in name or "so" in name.split(".")[1:] for name in kept)
    scores, _ = load_model(evil, spec_for("export")).predict(torch.zeros(2, 3, SIDE, SIDE))
    assert scores.shape == (2, 3)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("part", ["models/model.json", "weight_0"])
def test_damaged_exports_get_a_sentence(saved, tmp_path, part):
    path = rewrite(saved["export"], tmp_path / "bad.pt2", lambda n, d: b"{}" if n.endswith(part) else d)
    with pytest.raises(NotAModel, match="cannot be read"):
        load_model(path, spec_for("export"))


@pytest.mark.parametrize("kind", ["torchscript", "safetensors", "onnx"])
def test_other_damage_gets_a_sentence(saved, tmp_path, kind):
    path = tmp_path / "bad"
    if kind == "torchscript":
        rewrite(saved[kind], path, lambda n, d: b"damaged" if n.endswith("data.pkl") else d)
    elif kind == "safetensors":
        path.write_bytes(saved[kind].read_bytes()[:-3])
    else:
        path.write_bytes(saved[kind].read_bytes()[:-200])
    with pytest.raises(NotAModel):
        load_model(path, spec_for(kind))


# ONNX


def graph(nodes, *, inputs=None, weights=(), opset=(("", 17),), outputs=("y",)):
    images = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])]
    made = helper.make_graph(
        nodes,
        "g",
        images if inputs is None else inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        list(weights),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid(*entry) for entry in opset], ir_version=8)


def pooled(*rest):
    return [helper.make_node("ReduceMean", ["x"], ["p"], axes=[2, 3], keepdims=0), *rest]


def onnx_spec(**changes):
    return ModelSpec(format="onnx", preprocessing=STEPS, classes=CLASSES, **changes)


def test_softmax_after_the_linear_layer(tmp_path):
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    nodes = pooled(helper.make_node("MatMul", ["p", "w"], ["l"]), helper.make_node("Softmax", ["l"], ["y"]))
    onnx.save(graph(nodes, weights=[weight]), tmp_path / "m")
    x = torch.rand(2, 3, SIDE, SIDE)
    scores, features = load_model(tmp_path / "m", onnx_spec(outputs="probabilities")).predict(x)
    assert torch.allclose(features, x.mean((2, 3)), atol=1e-6)
    assert torch.allclose(scores.exp(), x.mean((2, 3)).softmax(1), atol=1e-6)


def test_without_a_linear_layer_there_are_no_features(tmp_path):
    onnx.save(graph(pooled(helper.make_node("Relu", ["p"], ["y"]))), tmp_path / "m")
    scores, features = load_model(tmp_path / "m", onnx_spec()).predict(torch.rand(2, 3, SIDE, SIDE))
    assert scores.shape == (2, 3)
    assert features is None


def test_weights_in_other_files_are_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(np.eye(3, dtype=np.float32).tobytes())
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 3], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="secret")
    onnx.save(graph(pooled(helper.make_node("MatMul", ["p", "w"], ["y"])), weights=[weight]), tmp_path / "m")
    with pytest.raises(NotAModel, match="in other files"):
        load_model(tmp_path / "m", onnx_spec())


def test_external_data_in_a_constant_node_is_refused(tmp_path):
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 3], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="/etc/passwd")
    constant = helper.make_node("Constant", [], ["w"])
    constant.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=weight))
    onnx.save(graph([constant, *pooled(helper.make_node("MatMul", ["p", "w"], ["y"]))]), tmp_path / "m")
    with pytest.raises(NotAModel, match="in other files"):
        load_model(tmp_path / "m", onnx_spec())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (graph(pooled(helper.make_node("Nonsense", ["p"], ["y"]))), "not valid"),
        (graph(pooled(helper.make_node("Relu", ["p"], ["y"])), opset=(("", 17), ("evil", 1))), "operators of evil"),
        (graph(pooled(helper.make_node("Relu", ["p"], ["y"])), inputs=[]), "0 inputs"),
        (
            graph(
                [helper.make_node("Relu", ["x"], ["y"])],
                inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
            ),
            "must be images",
        ),
        (
            graph(
                [helper.make_node("Relu", ["x"], ["y"])],
                inputs=[helper.make_tensor_value_info("x", TensorProto.STRING, ["n", 3, 8, 8])],
            ),
            "must be images",
        ),
    ],
)
def test_other_graphs_get_a_sentence(tmp_path, model, words):
    onnx.save(model, tmp_path / "m")
    with pytest.raises(NotAModel, match=words):
        load_model(tmp_path / "m", onnx_spec())


def test_a_copy_is_independent_of_the_upload(saved, tmp_path):
    path = shutil.copy(saved["export"], tmp_path / "other name.bin")
    assert load_model(type(saved["export"])(path), spec_for("export")).fixed_batch is None
