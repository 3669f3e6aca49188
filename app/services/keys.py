"""Keys of stages: equal inputs, equal key; nothing is computed twice. Versions come from metadata, without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from app.store.artifacts import artifact_key

INGEST_VERSION = 1
PREDICT_VERSION = 1
EMBED_VERSION = 1
ASSEMBLE_VERSION = 1
PUBLISH_VERSION = 1
RETRAIN_VERSION = 2
LIBRARIES = ("faultline", "torch", "torchvision", "timm", "open_clip_torch", "numpy", "scipy", "scikit-learn")


def numeric_policy(device_class: str) -> dict[str, str]:
    """What may move the last digits of a result: dtype, kind of device, minor version of torch."""
    dtype = "bfloat16 autocast" if device_class == "cuda" else "float32"
    return {"dtype": dtype, "device": device_class, "torch": ".".join(_version("torch").split(".")[:2])}


def model_hash(spec: Mapping[str, Any], checkpoint_hashes: Sequence[str]) -> str:
    """SHA-256 of how a model is fed and read, and of its weights in order."""
    canonical = json.dumps({"spec": spec, "checkpoints": list(checkpoint_hashes)}, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def architecture_hash(spec: Mapping[str, Any], parameters: int | None) -> str:
    """SHA-256 of what a network is before it is trained; the number of its parameters says how many outputs it has."""
    own = {name: spec.get(name) for name in ("architecture", "preprocessing", "classes")}
    return hashlib.sha256(json.dumps({**own, "parameters": parameters}, sort_keys=True).encode()).hexdigest()


def predict_base(data_hash: str, model: str, device_class: str) -> dict[str, Any]:
    """What all predict shards of a model on a data set have in common."""
    return {"data": data_hash, "model": model, "policy": numeric_policy(device_class)}


def embed_base(data_hash: str, weights_hash: str, device_class: str) -> dict[str, Any]:
    """What all embed shards of an encoder on a data set have in common."""
    return {"data": data_hash, "encoder": weights_hash, "policy": numeric_policy(device_class)}


def model_stage_base(
    data_hash: str,
    model: str,
    device_class: str,
    *,
    function: str,
    version: int,
    params: Mapping[str, Any],
    seed: int,
    fit: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What all shards of a kind's work on the network itself have in common; `fit` is on what it fits first."""
    policy = numeric_policy(device_class) | {"dtype": "float32"}
    parts = {"function": function, "version": version, "params": dict(params), "seed": seed}
    return {"data": data_hash, "model": model, "policy": policy, **parts} | ({"fit": dict(fit)} if fit else {})


def fit_key(base: Mapping[str, Any]) -> str:
    """The key of what a kind's work on the network fits before its shards, whose `base` says all that it depends on."""
    return artifact_key("fit-on-model", 1, base=dict(base))


def models_key(
    data_hash: str, architecture: str, device_class: str, *, rows: Sequence[Any], recipe: Mapping[str, Any], chosen: str
) -> str:
    """The key of some retrained networks; `rows` are both splits' ranges, `chosen` is the hash of what each sees.

    The weights that were uploaded have no part in it: versions with one architecture and one recipe share networks.
    """
    policy = numeric_policy(device_class) | {"dtype": "float32"}
    parts = {"rows": list(rows), "recipe": dict(recipe), "chosen": chosen, "policy": policy}
    return artifact_key("retrained", RETRAIN_VERSION, data=data_hash, architecture=architecture, **parts)


def shard_key(stage: str, base: Mapping[str, Any], start: int, stop: int) -> str:
    """The key of the rows [start, stop) of `predict`, `embed` or a kind's work on the network ("<kind>:<stage>").

    Kinds that do the same work on the network share it.
    """
    version = {"predict": PREDICT_VERSION, "embed": EMBED_VERSION}.get(stage, 0)
    return artifact_key("on-model" if ":" in stage else stage, version, base=dict(base), start=start, stop=stop)


def prediction_ids_key(sha256: str) -> str:
    """The key of the example ids that an uploaded table of predictions speaks of."""
    return artifact_key("prediction-ids", 1, file=sha256)


def kind_stage_key(
    kind: str, stage: str, version: int, *, params: Any, seed: int, inputs: Mapping[str, Any], device_class: str
) -> str:
    """The key of one stage of an audit kind; `inputs` holds the keys of all that it reads."""
    policy = numeric_policy(device_class)
    parts = {"params": params, "seed": seed, "inputs": dict(inputs), "policy": policy}
    return artifact_key(f"{kind}.{stage}", version, **parts)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on."""
    return {name: _version(name) for name in LIBRARIES}


@cache
def code_hash() -> str:
    """SHA-256 over Faultline's own Python files: which code made a result, installed from wherever."""
    root, digest = Path(__file__).resolve().parents[2], hashlib.sha256()
    for path in sorted(path for package in ("app", "workers") for path in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"
