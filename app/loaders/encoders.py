"""Vision/language encoders by name: the bundled one, any open_clip model, or a local open_clip folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import Compose

from app.errors import UserError
from app.loaders.decoding import decoded_batches, pace
from app.loaders.encoder_names import BUNDLED, FORMS, allowed_folder, require_known
from app.loaders.images import decode_rgb
from app.loaders.models.preprocess import Inputs
from app.loaders.models.spec import Preprocessing
from app.resources import resource
from app.settings import get_settings


@dataclass
class Encoder:
    """An image tower and its text tower in one space."""

    name: str
    weights_hash: str
    """SHA-256 over the weights."""
    dimension: int
    device: torch.device
    model: Any
    frame: Callable[[Image.Image], Image.Image]
    """Brings an RGB image to the size and crop that the tower takes."""
    steps: Preprocessing
    """Size and normalisation of framed images."""
    tokenize: Callable[[Sequence[str]], torch.Tensor]
    reads_text: bool = True
    words: Mapping[str, Sequence[str]] | None = None
    """Words by facet that it was trained on, where its folder says so (`vocabulary.json`)."""

    def embed_images(self, images: Iterable[bytes], batch_size: int = 64) -> np.ndarray:
        """Return float32 [n, d], not normalised; a row of NaN for an image that cannot be decoded.

        Decoding runs in threads (see `pace`); the batch halves when memory runs out.
        """
        rows = [np.empty((0, self.dimension), np.float32)]
        shape, inputs = (*self.steps.size, self.steps.channels), Inputs(self.steps)
        for batch in decoded_batches(images, self._pixels, shape, batch_size, pace(self.device)):
            embedded = self._forward(inputs.of(torch.from_numpy(batch.pixels).to(self.device))).cpu().numpy()
            embedded[[row - batch.start for row in batch.failures]] = np.nan
            rows.append(embedded)
        return np.concatenate(rows)

    def embed_text(self, sentences: Sequence[str], batch_size: int = 512) -> np.ndarray:
        """Return float32 [m, d], not normalised."""
        rows = [np.empty((0, self.dimension), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(sentences), batch_size):
                tokens = self.tokenize(list(sentences[start : start + batch_size])).to(self.device)
                rows.append(self.model.encode_text(tokens).float().cpu().numpy())
        return np.concatenate(rows)

    def _pixels(self, data: bytes) -> NDArray[np.uint8]:
        return np.asarray(self.frame(decode_rgb(data, get_settings().max_pixels)))

    def _forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Embed float32 [n, 3, height, width]: float32 [n, d] on the device."""
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"):
                embedded: torch.Tensor = self.model.encode_image(batch)
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
    return assemble(spec, model, preprocess, tokenizer, torch.device(device), _words(name))


def assemble(
    spec: str,
    model: Any,
    preprocess: Compose,
    tokenizer: Any,
    device: torch.device,
    words: Mapping[str, Sequence[str]] | None = None,
) -> Encoder:
    """Return open_clip's model, image transform and tokenizer as an `Encoder`."""
    # The transform's last two parts make a tensor and normalise it, image by image; here a batch does so at once.
    *framing, _, normalise = preprocess.transforms
    steps = Preprocessing(
        size=_size(model), resize="none", crop="none", mean=tuple(normalise.mean), std=tuple(normalise.std)
    )
    model.eval()
    return Encoder(
        spec, _digest(model), _dimension(model), device, model, Compose(framing), steps, tokenizer, words=words
    )


def _resolve(spec: str) -> tuple[str, str]:
    """Return open_clip's (model name, pretrained tag)."""
    if spec == BUNDLED:
        return f"local-dir:{resource('demo') / 'encoder'}", ""
    if spec.startswith("local-dir:"):
        return f"local-dir:{allowed_folder(spec.removeprefix('local-dir:'))}", ""
    name, _, pretrained = spec.removeprefix("open_clip:").rpartition("/")
    if spec.startswith("open_clip:") and (name, pretrained) in open_clip.list_pretrained():
        return name, pretrained
    require_known(spec)
    raise UserError(f"“{spec}” is no encoder by itself. Use {FORMS}.")


def _words(name: str) -> dict[str, list[str]] | None:
    path = Path(name.removeprefix("local-dir:")) / "vocabulary.json"
    if not name.startswith("local-dir:") or not path.is_file():
        return None
    found: dict[str, list[str]] = json.loads(path.read_text())
    return found


def _digest(model: torch.nn.Module) -> str:
    total = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        total.update(key.encode())
        total.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).tobytes())
    return total.hexdigest()


def _size(model: Any) -> tuple[int, int]:
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    return height, width


def _dimension(model: Any) -> int:
    with torch.inference_mode():
        pixels = torch.zeros(1, 3, *_size(model), device=next(model.parameters()).device)
        return int(model.encode_image(pixels).shape[1])
