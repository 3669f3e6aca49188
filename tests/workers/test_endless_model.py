"""A network that never returns is stopped while it is inspected, and says so."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from app.settings import get_settings
from app.store.models import ModelVersion
from app.store.session import reading, transaction
from tests.workers import build
from workers.testing import Twin


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        turns = 0
        while bool(x.sum() * 0 == 0):
            turns += 1
        return x + turns


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_network_that_never_ends_is_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "smoke_seconds", 8.0)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Endless()), buffer)
    with transaction() as session:
        made = build.version(
            session, build.project(session), buffer.getvalue(), format="torchscript", architecture="torchscript"
        ).id
    Twin().run_workflow("check_model", made)
    with reading() as session:
        version = session.get_one(ModelVersion, made)
    assert version.status == "failed"
    assert version.error.startswith("The network did not finish its first images within 8 s and was stopped.")
    assert "FAULTLINE_SMOKE_SECONDS" in version.error
