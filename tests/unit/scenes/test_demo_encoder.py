"""The shipped encoder opens through open_clip alone, and names what it sees in the shipped pictures."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch
from conftest import picture, sample
from safetensors.torch import load_file
from torch.nn.functional import normalize

from app.scenes.captions import WORDS
from app.scenes.spec import COLOURS, LIGHTS, OBJECTS, SETTINGS

PROMPTS = {
    "label": {value: [f"a {value}", f"a photo of a {value}"] for value in OBJECTS},
    "object_colour": {value: [f"a {value} thing", f"a photo of a {value} object"] for value in COLOURS},
    "setting": {value: [f"a photo of a thing {words}" for words in WORDS["setting"][value]] for value in SETTINGS},
    "light": {value: [f"a photo of a thing {words}" for words in WORDS["light"][value]] for value in LIGHTS},
}


@pytest.fixture(scope="module")
def encoder(demo):
    name = f"local-dir:{demo / 'encoder'}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    return model, preprocess, open_clip.get_tokenizer(name)


@pytest.fixture(scope="module")
def seen(encoder, test_rows):
    model, preprocess, _ = encoder
    rows = sample(test_rows, 240)
    with torch.inference_mode():
        return rows, normalize(model.encode_image(torch.stack([preprocess(picture(row)) for row in rows])), dim=1)


def test_the_weights_are_half_precision_and_load_as_single(demo, encoder):
    stored = load_file(demo / "encoder" / "open_clip_model.safetensors")
    assert {v.dtype for v in stored.values() if v.is_floating_point()} == {torch.float16}
    assert {p.dtype for p in encoder[0].parameters()} == {torch.float32}


def test_text_width_and_vocabulary(demo):
    text = json.loads((demo / "encoder" / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    assert text["width"] <= 96
    assert text["vocab_size"] == 49408


def test_classifier_and_encoder_together_are_small_enough_to_ship(demo):
    files = [path for folder in ("classifier", "encoder") for path in (demo / folder).iterdir()]
    assert sum(path.stat().st_size for path in files) <= 20e6


@pytest.mark.parametrize(
    ("column", "least"), [("label", 0.75), ("object_colour", 0.9), ("setting", 0.9), ("light", 0.9)]
)
def test_it_names_what_it_sees(encoder, seen, column, least):
    model, _, tokenize = encoder
    rows, images = seen
    with torch.inference_mode():
        texts = [normalize(model.encode_text(tokenize(lines)), dim=1).mean(0) for lines in PROMPTS[column].values()]
    named = (images @ normalize(torch.stack(texts), dim=1).T).argmax(1).tolist()
    values = list(PROMPTS[column])
    right = sum(values[k] == row[column] for k, row in zip(named, rows, strict=True))
    assert right / len(rows) >= least


def test_a_caption_is_nearer_to_its_own_picture_than_to_others(encoder, seen):
    model, _, tokenize = encoder
    rows, images = seen
    with torch.inference_mode():
        texts = normalize(model.encode_text(tokenize([row["caption"] for row in rows])), dim=1)
    cosines = images @ texts.T
    better = (cosines.diagonal()[None, :] > cosines).float().mean().item()
    assert better > 0.8
