"""Vision transformers that see one band of columns: tokens without a kept pixel are dropped, not masked.

Source: Salman, Jain, Wong and Madry, "Certified Patch Robustness via Smoothed Vision Transformers", 2022, section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_KINDS = {
    ("timm.models.vision_transformer", "VisionTransformer"),
    ("timm.models.deit", "VisionTransformerDistilled"),
}


def why_not(module: Any, width: int) -> str:
    """Why tokens of that network cannot be dropped here, for images of that width; empty where they can."""
    if (type(module).__module__, type(module).__name__) not in _KINDS:
        return "it is no plain vision transformer of timm (vit_… or deit_…)"
    projection = getattr(module.patch_embed, "proj", None)
    if not isinstance(projection, nn.Conv2d) or projection.stride != projection.kernel_size or any(projection.padding):
        return "its tokens overlap, or are not embedded by one convolution"
    if width % projection.stride[1]:
        return f"its tokens of {projection.stride[1]} px do not divide the {width} px of an image"
    return ""


def tokens_of(bands: Tensor, side: int) -> Tensor:
    """Token columns that hold a kept pixel, bool [positions, width / side], of bands bool [positions, width]."""
    return bands.view(len(bands), -1, side).any(2)


@torch.no_grad()
def band_logits(module: Any, images: Tensor, bands: Tensor, fill: Tensor, batch_size: int) -> Tensor:
    """Logits for each image and band of columns, [n, positions, C].

    The same as the network's own with attention to the dropped tokens masked out, to rounding: class token and
    position embeddings stay, and pixels outside the band within a kept token become `fill`.

    Args:
        module: a timm transformer for which `why_not` is empty, in evaluation mode.
        images: float32 [n, c, h, w], normalised.
        bands: bool [positions, w], see `bands.kept`.
        fill: float32 [c], normalised.
        batch_size: whole images' worth of tokens that the network is shown at once, at most.
    """
    side = module.patch_embed.proj.stride[1]
    tokens, bands = tokens_of(bands, side).to(images.device), bands.to(images.device)
    found: dict[int, Tensor] = {}
    for count in sorted(set(tokens.sum(1).tolist())):
        alike = torch.nonzero(tokens.sum(1) == count)[:, 0]
        columns = tokens[alike].nonzero()[:, 1].view(len(alike), count)
        pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(len(alike))).to(images.device)
        size = batch_size * max(1, tokens.shape[1] // count)
        places = map(_split, torch.split(pairs, size))
        parts = [_kept(module, images[i], bands[alike[p]], columns[p], fill) for i, p in places]
        logits = torch.cat(parts).view(len(images), len(alike), -1)
        found |= {place: logits[:, i] for i, place in enumerate(alike.tolist())}
    return torch.stack([found[place] for place in range(len(bands))], 1)


def _split(pairs: Tensor) -> tuple[Tensor, Tensor]:
    image, place = pairs.unbind(1)
    return image, place


def _kept(module: Any, images: Tensor, bands: Tensor, columns: Tensor, fill: Tensor) -> Tensor:
    """Logits [b, C] of images [b, c, h, w] that keep bands bool [b, w], which lie in token columns [b, k]."""
    embed = module.patch_embed
    side, across = embed.proj.stride[1], images.shape[3] // embed.proj.stride[1]
    pixels = (columns[:, :, None] * side + torch.arange(side, device=columns.device)).flatten(1)
    index = pixels[:, None, None].expand(*images.shape[:3], -1)
    seen = torch.where(bands[:, None, None], images, fill.to(images)[:, None, None])
    grid = embed.proj(seen.gather(3, index))
    places = torch.arange(grid.shape[2], device=columns.device)[:, None] * across + columns[:, None]
    tokens, prefix, position = embed.norm(grid.flatten(2).transpose(1, 2)), *_frame(module, grid.shape[2], across)
    x = torch.cat([prefix.expand(len(images), -1, -1), tokens + position[places.flatten(1)]], 1)
    logits: Tensor = module.forward_head(module.norm(module.blocks(module.norm_pre(x))))
    return logits


def _frame(module: Any, down: int, across: int) -> tuple[Tensor, Tensor]:
    """Prefix tokens [1, p, d] with their positions, and the position embedding of each token [down · across, d]."""
    like = next(module.parameters())
    shape = (1, down, across) if module.dynamic_img_size else (1, down * across)
    whole = module._pos_embed(torch.zeros(*shape, module.embed_dim, device=like.device, dtype=like.dtype))
    return whole[:, : module.num_prefix_tokens], whole[0, module.num_prefix_tokens :]
