"""One way to run a classifier, whatever its format."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from app.errors import UserError
from app.loaders.models import outputs
from app.loaders.models.formats.base import Backend
from app.loaders.models.sniff import sniff
from app.loaders.models.spec import ModelSpec

_BATCHES_TRIED = (2, 1, 4, 8, 16, 32, 64, 128, 256)
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "failed to allocate", "bad_alloc", "not enough memory")


class LoadedModel:
    """A classifier that is ready to run.

    `batch_size` is the most images that one pass takes; it halves when memory runs out.
    """

    def __init__(self, spec: ModelSpec, backend: Backend, device: torch.device, batch_size: int = 64) -> None:
        self.spec, self.device, self.batch_size = spec, device, batch_size
        self._backend = backend
        self._fixed = backend.fixed_batch
        self.wrapping = ""
        """What the network returns around its scores, and what would be right; empty where it returns them alone."""

    @property
    def fixed_batch(self) -> int | None:
        """The only number of images that the graph takes, where it is bound to one."""
        return self._fixed

    @torch.inference_mode()
    def raw(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `predict`, but scores as the network gives them, finite or not, and any number of classes."""
        images = images.to(self.device)
        parts: list[tuple[Tensor, Tensor | None]] = []
        done = 0
        while done < len(images):
            part = images[done : done + (self._fixed or self.batch_size)]
            try:
                parts.append(self._pass(part))
            except (RuntimeError, MemoryError) as error:
                self._recover(error, len(part))
                continue
            done += len(part)
        features = [features for _, features in parts if features is not None]
        joined = torch.cat(features) if len(features) == len(parts) and self.spec.penultimate else None
        return torch.cat([scores for scores, _ in parts]), joined

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Classify normalised images.

        Args:
            images: float32 [n, channels, height, width].

        Returns:
            logits float32 [n, C] (log-probabilities where the network returns probabilities), and penultimate
            features float32 [n, d], or None where the format hides them; both on the CPU.

        Raises:
            BadOutput: no single matrix of scores, NaN, or not as many classes as `spec.classes`.
        """
        scores, features = self.raw(images)
        outputs.check_finite(scores)
        logits = outputs.to_logits(scores) if self.spec.outputs == "probabilities" else scores
        return logits, features

    def settle_batch(self) -> None:
        """Find out by trying whether the graph takes any batch; `fixed_batch` then says the one it takes.

        Raises:
            UserError: it takes none.
        """
        if self._fixed is not None:
            return
        first: Exception | None = None
        for size in _BATCHES_TRIED:
            try:
                with torch.inference_mode():
                    self._scores(self._zeros(size))
            except Exception as error:  # a network may raise anything
                first = first or error
                continue
            self._fixed = None if size == 2 or (first and is_out_of_memory(first)) else size
            return
        assert first is not None
        raise self._no_batch(first) from first

    def _no_batch(self, error: Exception) -> UserError:
        if isinstance(error, UserError):
            return error
        if is_out_of_memory(error):
            return UserError(f"There is not enough memory for one image of {self._wanted()} on {self.device}.")
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
        return UserError(f"The network does not take images of {self._wanted()}: {reason}")

    def _wanted(self) -> str:
        steps = self.spec.preprocessing
        return f"{steps.channels} × {steps.size[0]} × {steps.size[1]}"

    def _zeros(self, size: int) -> Tensor:
        steps = self.spec.preprocessing
        return torch.zeros(size, steps.channels, *steps.size, device=self.device)

    def _pass(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = len(images)
        if self._fixed is not None and rows < self._fixed:
            filler = images[-1:].expand(self._fixed - rows, *images.shape[1:])
            images = torch.cat([images, filler])
        scores, features = self._scores(images)
        return scores[:rows].cpu(), None if features is None else features[:rows].cpu()

    def _scores(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        raw, features = self._backend.run(images)
        place, scores = outputs.find_scores(raw, len(images), len(self.spec.classes) or None)
        self.wrapping = outputs.wrapping(raw, place)
        return scores, features

    def _recover(self, error: BaseException, rows: int) -> None:
        """Halve the batch after running out of memory; anything else, or a batch of one, goes up."""
        if not is_out_of_memory(error):
            raise error
        if self._fixed is not None or rows == 1:
            raise UserError(
                f"There is not enough memory for {'one image' if rows == 1 else f'the batch of {self._fixed}'} of "
                f"{self._wanted()} on {self.device}."
            ) from error
        self.batch_size = max(1, rows // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is any library's way to say that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(word in str(error).lower() for word in _MEMORY_WORDS)


def pick_device(name: str) -> torch.device:
    """The device that `name` (auto, cpu, cuda, cuda:1) means on this machine."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision that `name` (auto, float32, bfloat16) means; auto is bfloat16 on CUDA."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def load_model(path: Path, spec: ModelSpec, device: str = "cpu", dtype: str = "auto") -> LoadedModel:
    """Open the model file and make it ready.

    Raises:
        UserError: the file is not what `spec.format` says, or cannot be read.
    """
    found = sniff(path)
    if found != spec.format:
        raise UserError(f"The file is {found}, but the model was declared as {spec.format}.")
    place = pick_device(device)
    precision = pick_dtype(dtype, place)
    model = LoadedModel(spec, _open(path, spec, place, precision), place)
    model.settle_batch()
    return model


def _open(path: Path, spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> Backend:
    # Each format costs an import of a second or so: only the one at hand.
    if spec.format == "safetensors":
        from app.loaders.models.formats import safetensors  # noqa: PLC0415

        return safetensors.load(path, spec, device, dtype)
    if spec.format == "torchscript":
        from app.loaders.models.formats import torchscript  # noqa: PLC0415

        return torchscript.load(path, spec, device, dtype)
    if spec.format == "export":
        from app.loaders.models.formats import export  # noqa: PLC0415

        return export.load(path, spec, device, dtype)
    if spec.format == "onnx":
        from app.loaders.models.formats import onnx  # noqa: PLC0415

        return onnx.load(path, spec, device, dtype)
    raise UserError("A predictions-only model has no network to run.")
