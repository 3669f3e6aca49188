"""torch.export archives (.pt2), of which only graph and raw tensors are read."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from app.loaders.models.sniff import NotAModel, PickleRefused
from app.loaders.models.spec import ModelSpec

_LINEAR = (torch.ops.aten.linear.default, torch.ops.aten.addmm.default)
_PLAIN_FILES = ("archive_format", "archive_version", "byteorder", ".data/version")
_READ_ERRORS = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError, OSError, IndexError)


class ExportBackend:
    """A graph module; features are exposed by a second output of its graph."""

    def __init__(self, module: fx.GraphModule, input_shape: tuple[int | None, ...], dtype: torch.dtype) -> None:
        self.input_shape, self.fixed_batch = input_shape, input_shape[0]
        self.n_parameters = sum(weight.numel() for weight in module.parameters())
        self.shows_features = _tap(module)
        self._module, self._dtype = module, dtype

    def run(self, images: Tensor) -> tuple[Any, Tensor | None]:
        """See `Backend`."""
        with torch.autocast(images.device.type, self._dtype, enabled=self._dtype != torch.float32):
            raw = self._module(images.contiguous())
        if not self.shows_features:
            return raw, None
        *outputs, features = raw
        usable = features.ndim == 2 and len(features) == len(images)
        return outputs, features.float() if usable else None


def load(path: Path, spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> ExportBackend:
    """Copy what is safe to a new archive, and load that; errors as `read_program`."""
    return _backend(read_program(path), device, dtype)


def read_program(path: Path) -> torch.export.ExportedProgram:
    """Read the graph and its tensors, and nothing else of the file.

    Raises:
        PickleRefused: an entry asks for pickle.
        NotAModel: damaged, made by another torch, or not a network that takes images and nothing else.
    """
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "model.pt2"
        copy_without_pickles(path, clean)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.load(clean)
        except _READ_ERRORS as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise NotAModel(
                f"The torch.export file cannot be read by torch {torch.__version__} ({reason}). Export it again with "
                "torch.export.save."
            ) from error
    _require_images(program)
    return program


def copy_without_pickles(source: Path, target: Path) -> None:
    """Write to `target` the graph and the raw tensors of `source`; sample inputs become empty.

    Raises:
        PickleRefused: a weight, constant or custom object asks for pickle.
        NotAModel: no exported graph inside.
    """
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        names = {name.partition("/")[2]: name for name in old.namelist()}
        models = [name for name in names if name.startswith("models/") and name.endswith(".json")]
        if len(models) != 1:
            raise NotAModel(f"The torch.export archive should hold one graph (models/….json); it holds {len(models)}.")
        title = models[0].removeprefix("models/").removesuffix(".json")
        kept = [models[0], *(name for name in _PLAIN_FILES if name in names)]
        for kind, prefix in (("weights", "weight_"), ("constants", "tensor_")):
            kept += _payload(old, names, f"data/{kind}/", f"{title}_{kind}_config.json", prefix)
        for name in kept:
            with old.open(names[name]) as original, new.open(f"{target.stem}/{name}", "w", force_zip64=True) as copy:
                shutil.copyfileobj(original, copy, 2**20)
        new.writestr(f"{target.stem}/data/sample_inputs/{title}.pt", b"")


def _payload(archive: zipfile.ZipFile, names: dict[str, str], folder: str, config: str, prefix: str) -> list[str]:
    """Names of the raw tensors that `config` lists, and of itself."""
    if folder + config not in names:
        raise PickleRefused(
            f"This torch.export file stores its {folder.split('/')[1]} as a pickle, as old versions of torch did. "
            "Export it again with torch 2.9 or later: torch.export.save(program, 'model.pt2')."
        )
    entries = json.loads(archive.read(names[folder + config]))["config"]
    for name, entry in entries.items():
        if entry.get("use_pickle") is not False or not str(entry["path_name"]).startswith(prefix):
            raise PickleRefused(
                f"In this torch.export file, {name} is stored as a pickle, which could run code. Export the model with "
                "plain tensors only: no subclasses, no custom objects."
            )
    paths = sorted({folder + str(entry["path_name"]) for entry in entries.values()})
    return [folder + config, *paths]


def _backend(program: torch.export.ExportedProgram, device: torch.device, dtype: torch.dtype) -> ExportBackend:
    module = program.module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    return ExportBackend(module.to(device), _input_shape(program), dtype)


def _require_images(program: torch.export.ExportedProgram) -> None:
    if len(program.graph_signature.user_inputs) != 1:
        raise NotAModel(f"The exported graph takes {len(program.graph_signature.user_inputs)} inputs; an image is one.")
    if len(_input_shape(program)) != 4:
        raise NotAModel("The exported graph's input must be images: [batch, channels, height, width].")


def _input_shape(program: torch.export.ExportedProgram) -> tuple[int | None, ...]:
    image = next(n for n in program.graph.nodes if n.name == program.graph_signature.user_inputs[0])
    return tuple(length if isinstance(length, int) else None for length in image.meta["val"].shape)


def _tap(module: fx.GraphModule) -> bool:
    """Add the last linear layer's input to the graph's outputs."""
    linear = [node for node in module.graph.nodes if node.op == "call_function" and node.target in _LINEAR]
    if not linear:
        return False
    place = 1 if linear[-1].target is torch.ops.aten.addmm.default else 0
    output = module.graph.output_node()
    given = output.args[0]
    flat = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    output.args = ((*flat, linear[-1].args[place]),)
    module.graph.set_codegen(fx.graph.CodeGen())
    module.recompile()
    return True
