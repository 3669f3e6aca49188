"""The losses of the encoder's training, against their formulas written out for one picture at a time."""

from __future__ import annotations

import numpy as np
import torch

from app.scenes.captions import describe
from app.scenes.spec import LEVELS, draw_factors
from scripts.train_scenes_encoder import contrastive_loss, denied, level_codes, level_loss


def log_softmax(values: np.ndarray) -> np.ndarray:
    return values - np.log(np.exp(values).sum())


def test_each_factor_is_a_choice_of_its_own() -> None:
    rng = np.random.default_rng(0)
    scenes = [draw_factors(rng) for _ in range(6)]
    logits = rng.normal(size=(6, sum(map(len, LEVELS.values()))))
    expected, start = 0.0, 0
    for name, values in LEVELS.items():
        part = logits[:, start : start + len(values)]
        start += len(values)
        right = [values.index(scene.as_dict()[name]) for scene in scenes]
        expected -= np.mean([log_softmax(row)[k] for row, k in zip(part, right, strict=True)])
    found = level_loss(torch.from_numpy(logits), level_codes(scenes))
    np.testing.assert_allclose(float(found), expected, rtol=1e-6)


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
