"""The same small network in each format, written once."""

import os
from pathlib import Path

import pytest
from model_builders import save_export, save_onnx, save_safetensors, save_torchscript, tiny_net


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    folder, net = tmp_path_factory.mktemp("saved"), tiny_net()
    return {
        "safetensors": save_safetensors(folder / "tiny.safetensors", net),
        "torchscript": save_torchscript(folder / "tiny.pt", net),
        "export": save_export(folder / "tiny.pt2", net),
        "onnx": save_onnx(folder / "tiny.onnx", net),
    }


@pytest.fixture(scope="session")
def real_data():
    folder = os.environ.get("FAULTLINE_REAL_DATA")
    if not folder:
        pytest.skip("FAULTLINE_REAL_DATA names no folder of real images and weights: nothing real was tested")
    return Path(folder)
