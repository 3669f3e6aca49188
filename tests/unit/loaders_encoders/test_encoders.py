"""Encoders: the bundled one for real, names that are none, folders that may not be read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from app.errors import UserError
from app.loaders import encoders
from app.loaders.encoders import Encoder, load_encoder
from app.loaders.models.preprocess import to_input
from app.resources import resource
from app.settings import get_settings


@pytest.fixture(scope="module")
def scenes() -> Encoder:
    return load_encoder("scenes")


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    table = pq.ParquetFile(resource("demo") / "scenes.parquet").read_row_group(0, columns=["image"]).slice(0, 12)
    return [row["image"]["bytes"] for row in table.to_pylist()]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Import roots that hold one folder."""
    monkeypatch.setenv("FAULTLINE_IMPORT_ROOTS", f'["{tmp_path}"]')
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def test_images_are_embedded_as_open_clip_does(scenes: Encoder, pictures: list[bytes]) -> None:
    folder = resource("demo") / "encoder"
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    pixels = torch.stack([preprocess(Image.open(io.BytesIO(data)).convert("RGB")) for data in pictures])
    with torch.inference_mode():
        expected = model.eval().encode_image(pixels).numpy()
    found = scenes.embed_images(pictures, batch_size=5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(301, 200), (64, 64), (40, 97)])
def test_a_batch_is_framed_and_normalised_as_open_clip_does(
    scenes: Encoder, resize_mode: str, interpolation: str, size: tuple[int, int]
) -> None:
    """Pixel by pixel, in every mode that open_clip has, so that any of its models sees what it was trained on."""
    transform = image_transform(
        64, False, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28), resize_mode, interpolation, fill_color=7
    )
    encoder = encoders.assemble("any", scenes.model, transform, None, scenes.device)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    file = io.BytesIO()
    picture.save(file, "PNG")
    framed = np.array(encoder._pixels(file.getvalue()))
    found = to_input(torch.from_numpy(framed)[None], encoder.steps)[0]
    torch.testing.assert_close(found, transform(picture), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_batch_size_changes_nothing(scenes: Encoder, pictures: list[bytes], batch_size: int) -> None:
    found = scenes.embed_images(pictures, batch_size)
    np.testing.assert_allclose(found, scenes.embed_images(pictures, 12), rtol=1e-3, atol=1e-4)


def test_a_broken_image_gives_a_row_of_nan_and_spoils_no_other(scenes: Encoder, pictures: list[bytes]) -> None:
    found = scenes.embed_images([pictures[0], b"not an image", pictures[1]])
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[[0, 2]], scenes.embed_images(pictures[:2]), rtol=1e-3, atol=1e-4)


def test_nothing_to_embed(scenes: Encoder) -> None:
    assert scenes.embed_images([]).shape == (0, scenes.dimension)
    assert scenes.embed_text([]).shape == (0, scenes.dimension)


def test_text_and_images_share_a_space(scenes: Encoder, pictures: list[bytes]) -> None:
    assert scenes.embed_text(["a photo of a cat"]).shape[1] == scenes.embed_images(pictures[:1]).shape[1]


def test_text_is_embedded_the_same_in_any_batch(scenes: Encoder) -> None:
    sentences = [f"a photo of a {word} animal" for word in ("white", "black", "red", "blue", "yellow")]
    np.testing.assert_allclose(
        scenes.embed_text(sentences, batch_size=2), scenes.embed_text(sentences), rtol=1e-4, atol=1e-5
    )


def test_running_out_of_memory_halves_the_batch(
    scenes: Encoder, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, real = scenes.embed_images(pictures), scenes.model.encode_image
    sizes: list[int] = []

    def small(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("out of memory")
        result: torch.Tensor = real(batch)
        return result

    monkeypatch.setattr(scenes.model, "encode_image", small)
    np.testing.assert_allclose(scenes.embed_images(pictures, 12), whole, rtol=1e-3, atol=1e-4)
    assert max(sizes) == 12
    assert min(sizes) <= 3


def test_weights_have_a_hash_that_follows_them(scenes: Encoder) -> None:
    assert scenes.weights_hash == encoders._digest(scenes.model)
    parameter = next(scenes.model.parameters())
    with torch.no_grad():
        kept = parameter.clone()
        parameter.view(-1)[0] += 1
        changed = encoders._digest(scenes.model)
        parameter.copy_(kept)
    assert changed != scenes.weights_hash


def test_it_says_which_words_it_knows(scenes: Encoder) -> None:
    assert scenes.words is not None
    assert "white" in scenes.words["colour"]
    assert "on grass" in scenes.words["setting"]


@pytest.mark.parametrize("spec", ["", "nonsense", "open_clip:ViT-B-32/none", "open_clip:", "ViT-B-32/openai", "given"])
def test_unknown_names_are_refused_with_what_would_be_right(spec: str) -> None:
    with pytest.raises(UserError, match="open_clip:ViT-B-32/laion2b_s34b_b79k"):
        load_encoder(spec)


def test_every_pair_that_open_clip_lists_is_a_name() -> None:
    for name, pretrained in open_clip.list_pretrained()[:50]:
        assert encoders._resolve(f"open_clip:{name}/{pretrained}") == (name, pretrained)


def test_a_folder_outside_the_roots_is_refused(settings: Path) -> None:
    with pytest.raises(UserError, match="outside the import roots"):
        load_encoder(f"local-dir:{resource('demo') / 'encoder'}")


def test_a_way_out_of_the_roots_is_refused(settings: Path) -> None:
    with pytest.raises(UserError, match="outside the import roots"):
        load_encoder(f"local-dir:{settings}/../..{resource('demo') / 'encoder'}")


def test_a_folder_with_pickled_weights_only_is_refused(settings: Path) -> None:
    folder = settings / "pickled"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text("{}")
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match="pickled weights are never loaded"):
        load_encoder(f"local-dir:{folder}")


def test_a_folder_below_a_root_loads(settings: Path, pictures: list[bytes], scenes: Encoder) -> None:
    (settings / "mine").symlink_to(settings / "real")
    (settings / "real").mkdir()
    for path in (resource("demo") / "encoder").iterdir():
        (settings / "real" / path.name).write_bytes(path.read_bytes())
    loaded = load_encoder(f"local-dir:{settings / 'mine'}")
    assert loaded.weights_hash == scenes.weights_hash
    np.testing.assert_allclose(
        loaded.embed_images(pictures[:2]), scenes.embed_images(pictures[:2]), rtol=1e-3, atol=1e-4
    )
