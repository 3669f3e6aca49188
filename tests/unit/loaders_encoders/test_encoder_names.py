"""Names of encoders, judged without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest

from app.errors import UserError
from app.loaders import encoder_names
from app.loaders.encoder_names import open_clip_pairs, require_known
from app.resources import resource
from app.settings import get_settings


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only import root."""
    monkeypatch.setenv("FAULTLINE_IMPORT_ROOTS", f'["{tmp_path}"]')
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def test_the_pairs_are_those_that_open_clip_lists() -> None:
    assert open_clip_pairs() == set(open_clip.list_pretrained())


def test_asking_for_a_name_brings_no_torch() -> None:
    code = (
        "import sys; from app.loaders.encoder_names import require_known; "
        "require_known('open_clip:ViT-B-32/laion2b_s34b_b79k'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("spec", ["scenes", "penultimate", "given", "open_clip:ViT-B-16-SigLIP2/webli"])
def test_known_names_pass(spec: str) -> None:
    require_known(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("magic", "There is no encoder “magic”. Use scenes, penultimate, given"),
        ("", "There is no encoder “”"),
        ("open_clip:ViT-B-32/laion2b", "such as open_clip:ViT-B-32/laion2b"),
        ("open_clip:ViT-B-32", "Write <model>/<pretrained>"),
        ("open_clip:", "Write <model>/<pretrained>"),
        ("open_clip:ViT-B-32/", "Write <model>/<pretrained>"),
    ],
)
def test_others_are_refused_with_what_would_be_right(spec: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        require_known(spec)
    assert words in caught.value.message


def test_a_release_that_keeps_its_list_elsewhere_is_asked_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_names, "_TABLE", "_MOVED")
    open_clip_pairs.cache_clear()
    try:
        require_known("open_clip:ViT-B-32/whatever")
    finally:
        open_clip_pairs.cache_clear()


def test_a_local_folder_has_to_lie_below_a_root_and_hold_an_encoder(root: Path) -> None:
    with pytest.raises(UserError, match=f"outside the import roots that the administrator configured: {root}"):
        require_known(f"local-dir:{resource('demo') / 'encoder'}")
    (root / "mine").mkdir()
    with pytest.raises(UserError, match=r"it holds no open_clip_config\.json"):
        require_known(f"local-dir:{root / 'mine'}")
    shutil.copyfile(resource("demo") / "encoder" / "open_clip_config.json", root / "mine" / "open_clip_config.json")
    with pytest.raises(UserError, match=r"holds no open_clip_model\.safetensors.*pickled weights are never loaded"):
        require_known(f"local-dir:{root / 'mine'}")
    (root / "mine" / "open_clip_model.safetensors").touch()
    require_known(f"local-dir:{root / 'mine'}")


def test_without_roots_no_folder_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FAULTLINE_IMPORT_ROOTS", raising=False)
    get_settings.cache_clear()
    with pytest.raises(UserError, match=r"none \(FAULTLINE_IMPORT_ROOTS\)"):
        require_known(f"local-dir:{tmp_path}")
    get_settings.cache_clear()
