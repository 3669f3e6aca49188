"""What a model version may say about itself."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from app.loaders.models.spec import ModelSpec, Preprocessing

NO_TORCH = ("spec", "sniff", "metadata", "table", "predictions", "inspect", "alternatives", "explain")


def test_defaults_are_imagenet():
    steps = Preprocessing()
    assert (steps.size, steps.shorter_side, steps.channels) == ((224, 224), 224, 3)


def test_round_trip():
    spec = ModelSpec(format="safetensors", architecture=[{"relu": {}}], classes=("a", "b"))
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mean": (0.5,)}, "mean needs 3 values"),
        ({"std": (1.0, 1.0)}, "std needs 3 values"),
        ({"std": (1.0, 0.0, 1.0)}, "positive"),
        ({"channels": 1}, "mean needs 1 values"),
        ({"size": (0, 10)}, "between 1 and 4096"),
        ({"size": (224, 99999)}, "between 1 and 4096"),
        ({"scale": 2}, "scale"),
        ({"crop": "none"}, "crop, or stretch"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_impossible_preprocessing(fields, words):
    with pytest.raises(ValidationError, match=words):
        Preprocessing(**fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"format": "safetensors"}, "name the architecture"),
        ({"format": "pickle"}, "format"),
        ({"format": "onnx", "classes": ("a", "a")}, "'a' occurs twice"),
        ({"format": "onnx", "classes": ("a", " ")}, "empty"),
        ({"format": "onnx", "outputs": "votes"}, "outputs"),
    ],
)
def test_impossible_specs(fields, words):
    with pytest.raises(ValidationError, match=words):
        ModelSpec(**fields)


def test_the_web_can_import_these_without_torch():
    modules = ", ".join(f"app.loaders.models.{name}" for name in NO_TORCH)
    program = f"import sys, app.loaders.images, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
