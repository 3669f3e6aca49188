"""The ways in which a declared preprocessing is usually wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.loaders.models.spec import Preprocessing

_NORMALISATIONS: dict[str, tuple[int, tuple[float, ...], tuple[float, ...]]] = {
    "no normalisation (values 0–1)": (1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "ImageNet mean and std": (1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10 mean and std": (1, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "mean and std 0.5 (values −1–1)": (1, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "CLIP mean and std": (1, (0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)),
    "values 0–255": (255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "values 0–255, ImageNet mean subtracted": (255, (123.675, 116.28, 103.53), (1.0, 1.0, 1.0)),
}
_GREY: dict[str, tuple[int, tuple[float, ...], tuple[float, ...]]] = {
    "no normalisation (values 0–1)": (1, (0.0,), (1.0,)),
    "MNIST mean and std": (1, (0.1307,), (0.3081,)),
    "mean and std 0.5 (values −1–1)": (1, (0.5,), (0.5,)),
    "values 0–255": (255, (0.0,), (1.0,)),
}


def normalisations(declared: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    """Other normalisations, each in both colour orders, and the declared one with colours swapped."""
    if declared.channels == 1:
        for name, (scale, mean, std) in _GREY.items():
            yield name, declared.model_copy(update={"scale": scale, "mean": mean, "std": std})
        return
    swapped = "RGB" if declared.colour_order == "BGR" else "BGR"
    yield f"{swapped} colours", declared.model_copy(update={"colour_order": swapped})
    for name, (scale, mean, std) in _NORMALISATIONS.items():
        steps = declared.model_copy(update={"scale": scale, "mean": mean, "std": std})
        yield name, steps
        turned = {"colour_order": swapped, "mean": mean[::-1], "std": std[::-1]}
        yield f"{name}, {swapped} colours", steps.model_copy(update=turned)


def geometries(declared: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    """Other ways to bring an image to the network's size."""
    side = min(declared.size)
    ways = (
        ("stretched to size", {"resize": "stretch", "crop": "none"}),
        ("shorter side to size, centre crop", {"resize": "shorter", "resize_to": None, "crop": "center"}),
        (
            "shorter side to 8/7 of size, centre crop",
            {"resize": "shorter", "resize_to": side * 8 // 7, "crop": "center"},
        ),
        ("centre crop without resizing", {"resize": "none", "crop": "center"}),
    )
    for name, fields in ways:
        for filter_name in dict.fromkeys((declared.interpolation, "bilinear", "bicubic")):
            steps = declared.model_copy(update={**fields, "interpolation": filter_name})
            if steps != declared and (filter_name == declared.interpolation or fields["resize"] != "none"):
                yield f"{name}, {filter_name}", steps


def class_orders(declared: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Other orders of the same names: alphabetical, and the data set's own (`others`)."""
    names = tuple(declared)
    seen = {names}
    for title, order in (
        ("classes in alphabetical order", tuple(sorted(names))),
        ("classes in alphabetical order, capitals alike", tuple(sorted(names, key=str.casefold))),
        ("classes in the data set's order", tuple(others)),
        ("classes in numerical order", tuple(sorted(names, key=_as_number))),
    ):
        if order not in seen and set(order) == set(names):
            seen.add(order)
            yield title, order


def _as_number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (0, name)
