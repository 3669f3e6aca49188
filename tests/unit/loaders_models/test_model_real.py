"""Real networks on real images: the published numbers come back. Needs FAULTLINE_REAL_DATA."""

import gzip
import io

import numpy as np
import pytest
from model_builders import pack
from PIL import Image

from app.loaders.models.inspect import inspect_file
from app.loaders.models.predict import predict_shard
from app.loaders.models.smoke import smoke
from app.loaders.models.sniff import PickleRefused
from app.loaders.models.spec import ModelSpec, Preprocessing
from workers.sandbox import Limits, Sandbox

pytestmark = pytest.mark.real

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_STEPS = Preprocessing(size=(32, 32), resize="none", crop="none")
MNIST_STEPS = Preprocessing(size=(28, 28), channels=1, resize="none", crop="none", mean=(0.0,), std=(1.0,))
MNIST_LAYERS = [
    {"conv2d": {"in_channels": 1, "out_channels": 16, "kernel_size": 4, "stride": 2, "padding": 1}},
    {"relu": {}},
    {"conv2d": {"in_channels": 16, "out_channels": 32, "kernel_size": 4, "stride": 2, "padding": 1}},
    {"relu": {}},
    {"flatten": {}},
    {"linear": {"in_features": 1568, "out_features": 100}},
    {"relu": {}},
    {"linear": {"in_features": 100, "out_features": 10}},
]
FORMATS = {"safetensors": "safetensors", "torchscript": "torchscript.pt", "export": "pt2", "onnx": "onnx"}


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def exact(real_data, tmp_path_factory):
    with np.load(real_data / "cifar10_exact_pixels.npz") as arrays:
        files, labels = [png(p) for p in arrays["test_pixels"]], arrays["test_labels"]
    return *pack(tmp_path_factory.mktemp("exact"), files), labels


@pytest.fixture(scope="module")
def mnist(real_data, tmp_path_factory):
    pixels = gzip.decompress((real_data / "mnist_t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((real_data / "mnist_t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    images = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28)
    packed = pack(tmp_path_factory.mktemp("mnist"), [png(image) for image in images])
    return *packed, np.frombuffer(labels, np.uint8)


def payload(path, spec, images, ranges, output):
    files = {"file": str(path), "images": [str(images)], "ranges": str(ranges), "output": str(output)}
    return {**files, "spec": spec.model_dump(mode="json"), "device": "cpu"}


def cifar_spec(kind, depth=20, **changes):
    name = f"cifar_resnet{depth}" if kind == "safetensors" else ""
    return ModelSpec(format=kind, architecture=name, preprocessing=changes.pop("steps", CIFAR_STEPS), classes=CIFAR)


def run(path, spec, images, ranges, output):
    predict_shard(payload(path, spec, images, ranges, output), lambda _: None)
    return np.load(output / "logits.npy"), np.load(output / "features.npy")


def test_resnet20_in_four_formats(real_data, exact, tmp_path):
    images, ranges, labels = exact
    found = {
        kind: run(real_data / "weights" / f"cifar10_resnet20.{end}", cifar_spec(kind), images, ranges, tmp_path / kind)
        for kind, end in FORMATS.items()
    }
    for kind, (logits, features) in found.items():
        assert (logits.argmax(1) == labels).mean() == pytest.approx(0.930), kind
        assert features.shape == (300, 64)
        assert np.abs(logits - found["safetensors"][0]).max() < 1e-4, kind
        assert np.abs(features - found["safetensors"][1]).max() < 1e-4, kind


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_resnet56(real_data, exact, tmp_path, kind):
    images, ranges, labels = exact
    path = real_data / "weights" / f"cifar10_resnet56.{kind}"
    logits, _ = run(path, cifar_spec(kind, 56), images, ranges, tmp_path)
    assert (logits.argmax(1) == labels).mean() == pytest.approx(0.950)


def test_jpeg_costs_what_it_should(real_data, tmp_path):
    with np.load(real_data / "cifar10_exact_pixels.npz") as arrays:
        rows = arrays["test_index"]
    with np.load(real_data / "cifar10_test_jpeg.npz") as arrays:
        (tmp_path / "pack").write_bytes(arrays["bytes"].tobytes())
        offsets, labels = arrays["offsets"], arrays["labels"][rows]
    np.save(tmp_path / "ranges.npy", np.stack([offsets[rows], offsets[rows + 1] - offsets[rows]], 1))
    path = real_data / "weights" / "cifar10_resnet20.onnx"
    logits, _ = run(path, cifar_spec("onnx"), tmp_path / "pack", tmp_path / "ranges.npy", tmp_path / "out")
    assert (logits.argmax(1) == labels).mean() == pytest.approx(0.827, abs=0.001)


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_the_robust_network_by_its_list_of_layers(real_data, mnist, tmp_path, kind):
    images, ranges, labels = mnist
    spec = ModelSpec(
        format=kind,
        architecture=MNIST_LAYERS if kind == "safetensors" else "",
        preprocessing=MNIST_STEPS,
        classes=tuple("0123456789"),
    )
    path = real_data / "weights" / f"mnist_robust_wong_kolter.{kind}"
    logits, features = run(path, spec, images, ranges, tmp_path)
    assert (logits.argmax(1) != labels).sum() == 180
    assert features.shape == (10_000, 100)


def test_the_real_pickle_is_refused_in_the_sandbox(real_data, tmp_path):
    path = real_data / "weights" / "cifar10_resnet20_pickled.th"
    with (
        Sandbox(tmp_path / "in", Limits(seconds=60), readable=[path]) as box,
        pytest.raises(Exception, match=r"safetensors\.torch import save_file") as caught,
    ):
        box.request("app.loaders.models.inspect:inspect_file", {"file": str(path)})
    assert issubclass(PickleRefused, type(caught.value))


def test_inspection_names_the_networks(real_data):
    for depth in (20, 56):
        path = real_data / "weights" / f"cifar10_resnet{depth}.safetensors"
        found = inspect_file({"file": str(path)}, lambda _: None)
        assert (found["architecture"], found["n_outputs"]) == (f"cifar_resnet{depth}", 10)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "scale": 255}, "mean and std"),
        ({"colour_order": "BGR"}, "RGB colours"),
    ],
)
def test_a_wrong_normalisation_is_explained(real_data, exact, changes, expected):
    images, ranges, labels = exact
    steps = CIFAR_STEPS.model_copy(update=changes)
    request = {
        "file": str(real_data / "weights" / "cifar10_resnet20.safetensors"),
        "spec": cifar_spec("safetensors", steps=steps).model_dump(mode="json"),
        "images": [str(images)],
        "ranges": str(ranges),
        "labels": [CIFAR[label] for label in labels],
        "dataset_classes": list(CIFAR),
        "claimed_accuracy": 0.9173,
        "search_seconds": 90.0,
        "device": "cpu",
    }
    report = smoke(request, lambda _: None)
    assert report["agrees"] is False
    assert expected in report["proposal"]["name"]
    assert report["proposal"]["explains"] is True
    assert report["proposal"]["accuracy"] >= 0.92
    assert report["proposal"]["n"] == 300
