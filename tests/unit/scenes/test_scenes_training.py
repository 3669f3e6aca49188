"""The losses of the encoder's training, against their formulas written out for one picture at a time."""

from __future__ import annotations

import numpy as np
import torch

from app.scenes.captions import describe
from app.scenes.spec import draw_factors
from scripts.train_scenes_encoder import contrastive_loss, denied, level_codes


def log_softmax(values: np.ndarray) -> np.ndarray:
    return values - np.log(np.exp(values).sum())


def test_a_caption_s_truth_is_shared_by_all_pictures_of_which_it_is_true() -> None:
    rng = np.random.default_rng(1)
    scenes = [draw_factors(rng) for _ in range(12)]
    captions = [describe(scene, rng) for scene in scenes]
    truth = level_codes(scenes) @ denied(captions).T == 0
    assert truth.tolist() == [[caption.is_true_of(scene) for caption in captions] for scene in scenes]
    logits = rng.normal(size=(12, 12))
    share = truth.numpy().astype(float)
    by_image = -np.mean([(s / s.sum()) @ log_softmax(row) for s, row in zip(share, logits, strict=True)])
    by_caption = -np.mean([(s / s.sum()) @ log_softmax(row) for s, row in zip(share.T, logits.T, strict=True)])
    found = contrastive_loss(torch.from_numpy(logits), truth.double())
    np.testing.assert_allclose(float(found), by_image + by_caption, rtol=1e-6)
