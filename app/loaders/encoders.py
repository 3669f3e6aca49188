"""Vision/language encoders by name: the bundled one, any open_clip model, or a local open_clip folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch

from app.errors import UserError
from app.loaders.images import BadImage, decode_rgb
from app.resources import resource
from app.settings import get_settings

BUNDLED = "scenes"
_WEIGHTS = "open_clip_model.safetensors"


@dataclass
class Encoder:
    """An image tower and its text tower in one space."""

    name: str
    weights_hash: str
    """SHA-256 over the weights."""
    dimension: int
    device: torch.device
    model: Any
    preprocess: Callable[[Any], torch.Tensor]
    tokenize: Callable[[Sequence[str]], torch.Tensor]
    reads_text: bool = True
    words: Mapping[str, Sequence[str]] | None = None
    """Words by facet that it was trained on, where its folder says so (`vocabulary.json`)."""

    def embed_images(self, images: Iterable[bytes], batch_size: int = 64) -> np.ndarray:
        """Return float32 [n, d], not normalised; a row of NaN for an image that cannot be decoded.

        Decoding overlaps the forward pass; the batch halves when memory runs out.
        """
        rows: list[np.ndarray] = []
        for batch in _ahead(self._batches(images, batch_size)):
            rows.append(self._forward(batch).cpu().numpy())
        return np.concatenate(rows) if rows else np.empty((0, self.dimension), np.float32)

    def embed_text(self, sentences: Sequence[str], batch_size: int = 512) -> np.ndarray:
        """Return float32 [m, d], not normalised."""
        rows = [np.empty((0, self.dimension), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(sentences), batch_size):
                tokens = self.tokenize(list(sentences[start : start + batch_size])).to(self.device)
                rows.append(self.model.encode_text(tokens).float().cpu().numpy())
        return np.concatenate(rows)

    def _batches(self, images: Iterable[bytes], batch_size: int) -> Iterator[torch.Tensor]:
        stream = iter(images)
        with ThreadPoolExecutor(2, "decode") as pool:
            while chunk := list(islice(stream, batch_size)):
                yield torch.stack(list(pool.map(self._pixels, chunk)))

    def _pixels(self, data: bytes) -> torch.Tensor:
        try:
            return self.preprocess(decode_rgb(data, get_settings().max_pixels))
        except BadImage:
            size = self.model.visual.image_size
            height, width = size if isinstance(size, tuple) else (size, size)
            return torch.full((3, height, width), torch.nan)

    def _forward(self, batch: torch.Tensor) -> torch.Tensor:
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"):
                embedded: torch.Tensor = self.model.encode_image(batch.to(self.device))
                return embedded.float()
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        torch.cuda.empty_cache()
        return torch.cat([self._forward(half) for half in batch.chunk(2)])


def load_encoder(spec: str, device: str = "cpu") -> Encoder:
    """Load the encoder that `spec` names: `scenes`, `open_clip:<model>/<pretrained>` or `local-dir:<folder>`.

    Raises:
        UserError: no such encoder, its weights cannot be had, or the folder lies outside the allowed roots.
    """
    name, pretrained = _resolve(spec)
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained or None, device=device)
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip and the hub raise many kinds; the person needs one sentence
        raise UserError(f"The encoder “{spec}” could not be loaded: {error}") from error
    model.eval()
    return Encoder(
        spec,
        _digest(model),
        _dimension(model),
        torch.device(device),
        model,
        preprocess,
        tokenizer,
        words=_words(name),
    )


def _resolve(spec: str) -> tuple[str, str]:
    """Return open_clip's (model name, pretrained tag)."""
    if spec == BUNDLED:
        return f"local-dir:{resource('demo') / 'encoder'}", ""
    if spec.startswith("local-dir:"):
        return f"local-dir:{_allowed_folder(spec.removeprefix('local-dir:'))}", ""
    name, _, pretrained = spec.removeprefix("open_clip:").rpartition("/")
    if spec.startswith("open_clip:") and (name, pretrained) in open_clip.list_pretrained():
        return name, pretrained
    raise UserError(
        f"There is no encoder “{spec}”. Use “{BUNDLED}”, “open_clip:ViT-B-32/laion2b_s34b_b79k” (any pair that "
        "open_clip lists), or “local-dir:<folder>” of an open_clip model."
    )


def _words(name: str) -> dict[str, list[str]] | None:
    path = Path(name.removeprefix("local-dir:")) / "vocabulary.json"
    if not name.startswith("local-dir:") or not path.is_file():
        return None
    found: dict[str, list[str]] = json.loads(path.read_text())
    return found


def _allowed_folder(text: str) -> Path:
    folder = Path(text).resolve()
    roots = [Path(root).resolve() for root in get_settings().import_roots if "://" not in root]
    if not any(folder.is_relative_to(root) for root in roots):
        raise UserError(f"The folder “{text}” lies outside the import roots that the administrator configured.")
    if not (folder / _WEIGHTS).is_file():
        raise UserError(f"The folder “{text}” holds no {_WEIGHTS}; pickled weights are never loaded.")
    return folder


def _digest(model: torch.nn.Module) -> str:
    total = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        total.update(key.encode())
        total.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).tobytes())
    return total.hexdigest()


def _dimension(model: Any) -> int:
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    with torch.inference_mode():
        pixels = torch.zeros(1, 3, height, width, device=next(model.parameters()).device)
        return int(model.encode_image(pixels).shape[1])


def _ahead(batches: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield the batches, preparing the next one while the present one is used."""
    with ThreadPoolExecutor(1, "ahead") as pool:
        pending = pool.submit(next, batches, None)
        while (batch := pending.result()) is not None:
            pending = pool.submit(next, batches, None)
            yield batch
