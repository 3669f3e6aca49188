"""Networks by name: built-in CIFAR ResNets, torchvision, timm, or a list of layers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import UserError
from app.loaders.models import cifar_resnet
from app.loaders.models.layers import build_layers
from app.loaders.models.spec import ModelSpec

# Names tried when weights come without a name, by a weight that only their family has.
_FAMILIES = (
    ("layer4.0.conv1.weight", "torchvision", ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")),
    ("layer4.0.conv3.weight", "torchvision", ("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2")),
    ("features.18.0.weight", "torchvision", ("mobilenet_v2",)),
    ("features.0.0.weight", "torchvision", ("mobilenet_v3_small", "mobilenet_v3_large")),
    ("features.0.0.weight", "torchvision", ("efficientnet_b0", "efficientnet_b1", "efficientnet_b2")),
    ("features.0.0.weight", "torchvision", ("convnext_tiny", "convnext_small", "convnext_base", "swin_t")),
    ("features.0.weight", "torchvision", ("alexnet", "vgg11", "vgg16", "vgg11_bn", "vgg16_bn", "squeezenet1_1")),
    ("features.conv0.weight", "torchvision", ("densenet121", "densenet169", "densenet201")),
    ("encoder.pos_embedding", "torchvision", ("vit_b_16", "vit_b_32", "vit_l_16")),
    ("conv_stem.weight", "timm", ("efficientnet_b0", "mobilenetv3_large_100", "mobilenetv3_small_100")),
    ("blocks.0.attn.qkv.weight", "timm", ("vit_tiny_patch16_224", "vit_small_patch16_224")),
    ("blocks.0.attn.qkv.weight", "timm", ("vit_base_patch16_224", "vit_base_patch32_224")),
    ("stages.0.blocks.0.conv_dw.weight", "timm", ("convnext_tiny", "convnext_small", "convnext_base")),
    ("layers.0.blocks.0.attn.qkv.weight", "timm", ("swin_tiny_patch4_window7_224",)),
)


def build(spec: ModelSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """Build the network that `spec.architecture` names, with as many outputs as `state` has.

    Raises:
        UserError: no such architecture; close names are given.
    """
    if isinstance(spec.architecture, list):
        return build_layers(spec.architecture)
    return build_named(spec.architecture, state, spec.preprocessing.channels, spec.preprocessing.size)


def build_named(
    name: str, state: Mapping[str, Tensor], channels: int = 3, size: tuple[int, int] = (224, 224)
) -> nn.Module:
    """As `build`, for a name: `timm:…`, `torchvision:…`, `cifar_resnet…`, or a bare name found in that order."""
    source, _, rest = name.rpartition(":")
    family = cifar_resnet.parse_name(rest)
    try:
        if family is not None and source in ("", "builtin"):
            return cifar_resnet.CifarResNet(family[0], _outputs(state, "linear"), family[1], channels)
        if source == "torchvision" or (source == "" and rest in _torchvision_names()):
            return _torchvision(rest, state)
        if source in ("", "timm"):
            return _timm(rest, state, channels, size)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"The architecture {name} cannot be built: {error}.") from error
    raise UserError(f"No architecture source {source!r}: use timm:NAME, torchvision:NAME or cifar_resnet20.")


def guess(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the architectures whose weights have exactly the names and shapes of `state`."""
    shapes = {name: tensor.shape for name, tensor in state.items()}
    family = cifar_resnet.name_for(shapes)
    candidates = [family] if family else []
    for mark, source, names in _FAMILIES:
        if mark in shapes:
            candidates += [f"{source}:{name}" for name in names]
    return tuple(name for name in candidates if _fits(name, state, shapes))


def _fits(name: str, state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> bool:
    first = next((tensor for tensor in state.values() if tensor.ndim == 4), None)
    channels = int(first.shape[1]) if first is not None and first.shape[1] in (1, 3) else 3
    try:
        with torch.device("meta"):
            model = build_named(name, state, channels)
    except UserError:
        return False
    wanted = {n: t.shape for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    return wanted == {n: s for n, s in shapes.items() if not n.endswith("num_batches_tracked")}


def _torchvision(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    import torchvision  # noqa: PLC0415 - half a second that other formats need not pay

    if name not in _torchvision_names():
        raise UserError(f"torchvision has no classifier {name!r}.{_close(name, _torchvision_names())}")
    arguments: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        classifier = last_linear(torchvision.models.get_model(name, weights=None, **arguments))
    outputs = _outputs(state, classifier)
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=outputs, **arguments)
    return model


def _torchvision_names() -> list[str]:
    import torchvision  # noqa: PLC0415

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _timm(name: str, state: Mapping[str, Tensor], channels: int, size: tuple[int, int]) -> nn.Module:
    import timm  # noqa: PLC0415

    if not timm.is_model(name.split(".", maxsplit=1)[0]):
        raise UserError(f"timm has no model {name!r}.{_close(name, timm.list_models())}")
    arguments: dict[str, Any] = {"in_chans": channels}
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        arguments["img_size"] = size
    create: Callable[..., nn.Module] = timm.create_model
    with torch.device("meta"):
        classifier = last_linear(create(name, **arguments))
    return create(name, num_classes=_outputs(state, classifier), **arguments)


def last_linear(model: nn.Module) -> str:
    """Name of the last linear layer (or 1×1 convolution) in order of definition."""
    kinds = (nn.Linear, nn.Conv2d)
    names: list[str] = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    return names[-1]


def _outputs(state: Mapping[str, Tensor], classifier: str) -> int:
    weight = state.get(f"{classifier}.weight")
    return int(weight.shape[0]) if weight is not None and weight.ndim >= 2 else 1000


def _close(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3)
    return f" Did you mean {', '.join(near)}?" if near else ""
