"""Files are known by their bytes, whatever they are called."""

import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from model_builders import tiny_net

from app.loaders.models.sniff import NotAModel, PickleRefused, safetensors_header, sniff


def test_the_name_does_not_matter(saved, tmp_path):
    for kind, path in saved.items():
        for name in ("model.pth", "model.onnx", "model"):
            assert sniff(Path(shutil.copy(path, tmp_path / name))) == kind


def _read(path):
    if sniff(path) == "safetensors":
        safetensors_header(path)


def test_every_cut_is_noticed(saved, tmp_path):
    cut = tmp_path / "cut"
    for kind in ("safetensors", "torchscript", "export"):
        data = saved[kind].read_bytes()
        for share in (0.3, 0.9, 0.999):
            cut.write_bytes(data[: int(len(data) * share)])
            with pytest.raises(NotAModel, match="cut off"):
                _read(cut)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("content", [{"weight": [1.0]}, [1, 2], ("a",), {1, 2}, Path("x"), 1.5])
def test_pickles_are_refused_in_every_protocol(tmp_path, protocol, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(PickleRefused, match=r"safetensors\.torch import save_file"):
        sniff(path)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("what", ["state", "model", "checkpoint"])
def test_torch_save_is_refused(tmp_path, new, what):
    net = tiny_net()
    content = {"state": net.state_dict(), "model": net, "checkpoint": {"state_dict": net.state_dict(), "epoch": 3}}
    path = tmp_path / "model.onnx"
    torch.save(content[what], path, _use_new_zipfile_serialization=new)
    with pytest.raises(PickleRefused, match="weights_only=True"):
        sniff(path)


def test_a_pickle_inside_a_zip_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/weights.pkl", pickle.dumps({}))
    with pytest.raises(PickleRefused):
        sniff(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"PK\x03\x04 and no more", "cut off"),
        (b"\x89PNG\r\n\x1a\n....", "a PNG image"),
        (b"\xff\xd8\xff\xe0", "a JPEG image"),
        (b"\x89HDF\r\n\x1a\n", "ONNX"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\x93NUMPY\x01\x00", "NumPy array"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x7fELF\x02", "a program"),
        (b"\x00" * 100, "no format"),
        (b"just words without any mark", "no format"),
        (b"hello" * 100, "no format"),
        ((10**6).to_bytes(8, "little") + b'{"a"', "cut off"),
    ],
)
def test_other_files_get_a_sentence(tmp_path, data, words):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(NotAModel, match=words) as caught:
        sniff(path)
    assert caught.value.status == 422


def test_a_plain_zip_is_sent_to_the_data_sets(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cats/1.png", b"")
    with pytest.raises(NotAModel, match="images belong under Datasets"):
        sniff(path)


def test_tables(tmp_path):
    path = tmp_path / "predictions"
    path.write_text("example_id,cat,dog\na,0.1,0.9\n")
    assert sniff(path) == "csv"
    path.write_text("﻿id;cät;dög\na;1;2\n", encoding="utf-8")
    assert sniff(path) == "csv"


@pytest.mark.parametrize("header", [b"[1, 2]", b'{"a": {"shape": [1]}}', b"{not json", b'{"a": 3}'])
def test_damaged_safetensors_headers(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(NotAModel):
        safetensors_header(path)
