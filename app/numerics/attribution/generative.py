"""Model outputs of generative and contrastive models: plugs beside the margin of a classifier."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.attribution.outputs import margin


def next_token_margin(logits: Tensor, tokens: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean log-odds of each next token of a sequence.

    Args:
        logits: float [n, T, V]; position t speaks of token t + 1.
        tokens: int64 [n, T].
        counted: bool [n, T], tokens that count as predicted (the first never does); None: all.

    Returns:
        float [n].

    Source: Park et al. 2023 (TRAK), section 5.3: the language model's loss as one classification a token.
    """
    odds = margin(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).reshape(len(tokens), -1)
    weight = torch.ones_like(odds) if counted is None else counted[:, 1:].to(odds.dtype)
    return (odds * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def next_token_doubt(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean of 1 − p over the next tokens, float [n]: TRAK's weight of a training sequence."""
    odds = margin(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).reshape(len(tokens), -1)
    return torch.sigmoid(-odds).mean(dim=1)


def contrastive_margin(pairs: Tensor, images: Tensor, texts: Tensor, scale: float) -> Tensor:
    """Log-odds that an image finds its text among a bank of others, plus the reverse.

    Args:
        pairs: float [n, 2, d], the embeddings of each image and its text, not normalised.
        images, texts: float [b, d], the bank: embeddings that count as constants, so that a pair's output depends on
            that pair alone.
        scale: inverse temperature.

    Returns:
        float [n].

    Source: Park et al. 2023 (TRAK), section 5.1 (CLIP), with a fixed bank in place of the batch.
    """
    image, text = functional.normalize(pairs[:, 0], dim=1), functional.normalize(pairs[:, 1], dim=1)
    own = scale * (image * text).sum(dim=1)
    others = (image @ functional.normalize(texts, dim=1).T, text @ functional.normalize(images, dim=1).T)
    return sum((own - (scale * side).logsumexp(dim=1) for side in others), torch.zeros_like(own))


def denoising_output(predicted: Tensor, noise: Tensor) -> Tensor:
    """Minus the mean squared error of a predicted noise, float [n]; higher is better, as every output here.

    Args:
        predicted, noise: float [n, …].

    The training weight is 1: the output is the loss itself. Average the features of fresh noise draws at a step to
    attribute that step.

    Source: Georgiev et al. 2023, "The journey, not the destination", arXiv 2312.06205, section 3.
    """
    return -(predicted - noise).square().flatten(1).mean(dim=1)
