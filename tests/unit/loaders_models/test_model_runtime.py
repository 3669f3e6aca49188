"""Batches: too large for memory, bound to one size, and what errors become."""

import pytest
import torch
from model_builders import SIDE, spec_for, tiny_net

from app.errors import UserError
from app.loaders.models.runtime import LoadedModel, is_out_of_memory, load_model, pick_device, pick_dtype

CPU = torch.device("cpu")


class Scarce:
    """A backend that runs out of memory above `most` images, in one of the ways that libraries say so."""

    fixed_batch = None

    def __init__(self, most, error, fixed=None):
        self.most, self.error, self.fixed_batch, self.sizes = most, error, fixed, []
        self.net = tiny_net()

    def run(self, images):
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise self.error
        return self.net(images), None


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
    RuntimeError("std::bad_alloc"),
    RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
]


@pytest.mark.parametrize("error", ERRORS, ids=range(len(ERRORS)))
def test_the_batch_halves_and_goes_on(error):
    backend = Scarce(5, error)
    model = LoadedModel(spec_for("onnx"), backend, CPU, batch_size=32)
    x = torch.rand(40, 3, SIDE, SIDE)
    scores, _ = model.predict(x)
    with torch.no_grad():
        assert torch.allclose(scores, tiny_net()(x), atol=1e-6)
    assert model.batch_size == 4
    assert backend.sizes[:4] == [32, 16, 8, 4]
    assert set(backend.sizes[3:]) == {4}


def test_one_image_too_many_is_a_sentence():
    model = LoadedModel(spec_for("onnx"), Scarce(0, MemoryError()), CPU)
    with pytest.raises(UserError, match="not enough memory for one image of 3 × 8 × 8 on cpu"):
        model.predict(torch.rand(8, 3, SIDE, SIDE))
    assert model.batch_size == 1


def test_a_fixed_batch_cannot_halve():
    model = LoadedModel(spec_for("onnx"), Scarce(4, MemoryError(), fixed=8), CPU)
    with pytest.raises(UserError, match="the batch of 8"):
        model.predict(torch.rand(8, 3, SIDE, SIDE))


def test_other_errors_are_not_taken_for_memory():
    model = LoadedModel(spec_for("onnx"), Scarce(0, RuntimeError("shape mismatch")), CPU)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        model.predict(torch.rand(2, 3, SIDE, SIDE))
    assert not is_out_of_memory(RuntimeError("division by zero"))


class Picky:
    """A backend that takes no image at all, each time with another exception."""

    fixed_batch = None

    def __init__(self, error):
        self.error = error

    def run(self, images):
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            AssertionError("Input height (8) doesn't match model (224)"),
            "does not take images of 3 × 8 × 8: Input height",
        ),
        (RuntimeError(""), "does not take images of 3 × 8 × 8: RuntimeError"),
        (KeyError("image"), "does not take images"),
        (MemoryError(), "not enough memory for one image"),
        (UserError("The network has a single output."), "single output"),
    ],
)
def test_a_network_that_takes_nothing_is_explained(error, words):
    with pytest.raises(UserError, match=words):
        LoadedModel(spec_for("onnx"), Picky(error), CPU).settle_batch()


def test_scarce_memory_is_not_taken_for_a_fixed_batch():
    model = LoadedModel(spec_for("onnx"), Scarce(1, MemoryError()), CPU)
    model.settle_batch()
    assert model.fixed_batch is None
    assert model.predict(torch.rand(3, 3, SIDE, SIDE))[0].shape == (3, 3)


def test_a_fixed_batch_is_filled_up_and_cut():
    backend = Scarce(8, MemoryError(), fixed=8)
    model = LoadedModel(spec_for("onnx"), backend, CPU, batch_size=3)
    x = torch.rand(11, 3, SIDE, SIDE)
    scores, _ = model.predict(x)
    assert backend.sizes == [8, 8]
    with torch.no_grad():
        assert torch.allclose(scores, tiny_net()(x), atol=1e-6)


def test_bfloat16_stays_close(saved):
    x = torch.rand(4, 3, SIDE, SIDE)
    exact, _ = load_model(saved["safetensors"], spec_for("safetensors")).predict(x)
    rough, features = load_model(saved["safetensors"], spec_for("safetensors"), dtype="bfloat16").predict(x)
    assert rough.dtype == features.dtype == torch.float32
    assert 0 < (exact - rough).abs().max() < 0.05


def test_predictions_only_has_nothing_to_run(tmp_path):
    (tmp_path / "table").write_text("id,a,b\n1,0.5,0.5\n")
    with pytest.raises(UserError):
        load_model(tmp_path / "table", spec_for("predictions"))


def test_devices_and_precisions():
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda")
    assert pick_dtype("auto", CPU) == torch.float32
    assert pick_dtype("auto", torch.device("cuda")) == torch.bfloat16
    assert pick_dtype("float32", torch.device("cuda")) == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["safetensors", "torchscript", "export", "onnx"])
def test_cuda_agrees(saved, kind):
    x = torch.rand(4, 3, SIDE, SIDE)
    exact, _ = load_model(saved[kind], spec_for(kind)).predict(x)
    cuda, _ = load_model(saved[kind], spec_for(kind), "cuda", "float32").predict(x)
    half, _ = load_model(saved[kind], spec_for(kind), "cuda").predict(x)
    assert torch.allclose(exact, cuda, atol=1e-3)
    assert (exact - half).abs().max() < 0.05
