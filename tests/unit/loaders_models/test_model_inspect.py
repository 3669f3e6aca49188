"""What files say about themselves, and what remains to be asked."""

import json

import pytest
from model_builders import save_onnx, save_safetensors, save_torchscript, tiny_net
from torch import nn

from app.loaders.models.cifar_resnet import CifarResNet
from app.loaders.models.defaults import usual_preprocessing
from app.loaders.models.inspect import inspect_file
from app.loaders.models.metadata import read_metadata
from app.loaders.models.sniff import PickleRefused
from app.loaders.models.spec import Inspection, Preprocessing

PAIRS = {
    "classes": json.dumps(["ant", "bee", "cat"]),
    "mean": "[0.1, 0.2, 0.3]",
    "std": "0.4, 0.5, 0.6",
    "input_size": "8",
}


def look(path, **more):
    found = inspect_file({"file": str(path), **more}, lambda _: None)
    Inspection.model_validate(found)
    return found


def asked(found):
    return {question["field"]: question["suggestion"] for question in found["questions"]}


@pytest.mark.parametrize("kind", ["export", "onnx"])
def test_graphs_know_their_outputs_and_size(saved, kind):
    found = look(saved[kind])
    assert found["format"] == kind
    assert (found["n_outputs"], found["penultimate"], found["fixed_batch"]) == (3, True, None)
    assert found["preprocessing"]["channels"] == 3
    assert found["preprocessing"]["size"] == [8, 8]


def test_a_script_of_an_unusual_size_is_asked_for_it(saved):
    found = look(saved["torchscript"])
    assert (found["n_outputs"], found["penultimate"], found["preprocessing"]) == (None, True, {"channels": 3})
    assert found["warnings"] == ["The network runs at none of the usual input sizes: say which one it takes."]
    assert "preprocessing.size" in asked(found)


@pytest.mark.parametrize("kind", ["safetensors", "torchscript", "export", "onnx"])
def test_parameters_are_counted(saved, kind):
    expected = sum(parameter.numel() for parameter in tiny_net().parameters())
    assert look(saved[kind])["n_parameters"] == expected


@pytest.mark.parametrize("kind", ["safetensors", "torchscript", "onnx"])
def test_stored_metadata_is_read_and_not_asked(tmp_path, kind):
    path = tmp_path / "model"
    if kind == "safetensors":
        save_safetensors(path, tiny_net(), PAIRS)
    elif kind == "torchscript":
        save_torchscript(path, tiny_net(), extra={f"{name}.json": value for name, value in PAIRS.items()})
    else:
        save_onnx(path, tiny_net(), props=PAIRS)
    found = look(path)
    assert found["classes"] == ["ant", "bee", "cat"]
    steps = found["preprocessing"]
    assert (steps["size"], steps["mean"], steps["std"]) == ([8, 8], [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert not {"classes", "preprocessing.mean", "preprocessing.std", "preprocessing.size"} & set(asked(found))


def test_an_architecture_is_guessed_and_its_ways_suggested(tmp_path):
    found = look(save_safetensors(tmp_path / "m", CifarResNet(20)))
    assert (found["architecture"], found["n_outputs"], found["n_parameters"]) == ("cifar_resnet20", 10, 269_722)
    suggestions = asked(found)
    assert suggestions["preprocessing.size"] == [32, 32]
    assert suggestions["preprocessing.resize"] == "stretch"
    assert "architecture" not in suggestions
    assert "all 10 classes" in next(q["text"] for q in found["questions"] if q["field"] == "classes")


def test_unknown_weights_ask_for_their_architecture(saved):
    found = look(saved["safetensors"])
    assert found["architecture"] is None
    assert "architecture" in asked(found)


def test_a_named_architecture_brings_its_suggestions(saved):
    found = look(saved["safetensors"], architecture="torchvision:efficientnet_b0")
    assert asked(found)["preprocessing.resize_to"] == 256


def test_suggestions_make_a_valid_preprocessing(saved, tmp_path):
    for path in (*saved.values(), save_safetensors(tmp_path / "m", CifarResNet(8, channels=1))):
        found = look(path)
        answers = {k.partition(".")[2]: v for k, v in asked(found).items() if k.startswith("preprocessing.")}
        assert Preprocessing.model_validate({**found["preprocessing"], **answers})


def test_a_pickle_is_refused(tmp_path):
    import pickle

    (tmp_path / "model.onnx").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(PickleRefused):
        look(tmp_path / "model.onnx")


def test_a_class_list_that_does_not_fit_is_warned_of(tmp_path):
    path = save_onnx(tmp_path / "m", tiny_net(), props={"classes": "a,b"})
    assert look(path)["warnings"] == ["The file names 2 classes, but the network has 3 outputs."]


def test_a_fixed_batch_is_said(tmp_path):
    found = look(save_onnx(tmp_path / "m", tiny_net(), fixed=4))
    assert found["fixed_batch"] == 4
    assert "batches of 4 only" in found["warnings"][0]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({"classes": "a, b ,c"}, {"classes": ("a", "b", "c")}),
        ({"labels": "a\nb b\n"}, {"classes": ("a", "b b")}),
        ({"id2label": '{"1": "b", "0": "a"}'}, {"classes": ("a", "b")}),
        ({"class_to_idx": '{"b": 1, "a": 0}'}, {"classes": ("a", "b")}),
        ({"id2label": '{"1": "b", "3": "a"}'}, {}),
        ({"classes": '["a", "a"]'}, {}),
        ({"classes": "one"}, {}),
        ({"input_size": "[3, 32, 48]"}, {"size": (32, 48)}),
        ({"image_size": "(224, 224)"}, {"size": (224, 224)}),
        ({"input_size": "0"}, {}),
        ({"input_size": "huge"}, {}),
        ({"image_mean": "[0.5]"}, {"mean": (0.5,)}),
        ({"mean": "nan"}, {}),
        ({"interpolation": "InterpolationMode.BICUBIC"}, {"interpolation": "bicubic"}),
        ({"config": '{"arch": "resnet18", "mean": [0, 0, 0]}'}, {"architecture": "resnet18", "mean": (0, 0, 0)}),
        ({"config.json": '{"classes": ["x", "y"]}'}, {"classes": ("x", "y")}),
        ({"format": "pt"}, {}),
        ({"classes": "{broken"}, {}),
    ],
)
def test_spellings_of_metadata(pairs, expected):
    assert read_metadata(pairs) == expected


@pytest.mark.parametrize(
    ("name", "size", "resize_to"),
    [
        ("torchvision:resnet50", (224, 224), 232),
        ("timm:resnet18", (224, 224), None),
        ("cifar_resnet56", (32, 32), None),
        ("torchvision:nothing", None, None),
        ("something_else", None, None),
    ],
)
def test_usual_preprocessing(name, size, resize_to):
    steps = usual_preprocessing(name)
    assert steps.get("size") == size
    if resize_to:
        assert steps["resize_to"] == resize_to
    if steps:
        Preprocessing.model_validate(steps)


class Returning(nn.Module):
    """Returns something else than a matrix of scores, at any size."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        scores = x.mean((2, 3))
        return {
            "pair": (scores, scores * 2),
            "dict": {"main": scores, "aux": scores},
            "map": x,
        }[self.kind]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "pair",
            "The network returns a tuple of a float32 tensor of shape 1×3, a float32 tensor of shape 1×3: 2 matrices",
        ),
        ("dict", "The network returns a dict with the keys 'main', 'aux': 2 matrices that could be the class scores"),
        ("map", "The network returned a float32 tensor of shape 1×3×224×224; it should return one matrix of scores"),
    ],
)
def test_what_is_no_matrix_of_scores_is_named_with_what_would_be_right(tmp_path, kind, words):
    found = look(save_torchscript(tmp_path / "model.pt", Returning(kind), batch=1))
    assert found["n_outputs"] is None
    assert words in found["warnings"][-1]
    assert found["warnings"][-1].endswith("wrap it in a module that picks them.")
