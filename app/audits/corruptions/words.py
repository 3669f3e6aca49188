"""Names and sentences of the kind `corruptions`. Imports no torch."""

from __future__ import annotations

from app.audits.corruptions.schema import CorruptionsSummary
from app.numerics.corruptions.parameters import COMMON, GROUPS

_ODD = {"jpeg_compression": "JPEG compression", "saturate": "Saturation"}
FAMILY_NAMES = {"imagenet-c": "ImageNet-C", "cifar-c": "CIFAR-C"}
_GROUP_OF = {kind: group for group, kinds in GROUPS.items() for kind in kinds}


def kind_name(kind: str) -> str:
    """A kind in words."""
    return _ODD.get(kind) or kind.replace("_", " ").capitalize()


def group_name(kind: str) -> str:
    """The group that a kind belongs to."""
    group = _GROUP_OF[kind]
    return "beside the fifteen" if group == "validation" else group


def sentences(summary: CorruptionsSummary) -> list[str]:
    """How it was measured, what was left out, and which error is shown."""
    asked = [row.kind for row in summary.kinds]
    family = FAMILY_NAMES.get(summary.family, summary.family)
    found = [
        f"{summary.rows:,} of {summary.of_rows:,} labelled images, drawn at random, each corrupted in {len(asked)} of "
        f"19 ways at {len(summary.severities)} of 5 severities, with the parameters of {family}. What is corrupted is "
        "what the network gets, after resizing and cropping."
    ]
    if summary.rows < summary.of_rows:
        found.append(
            f"The budget “{summary.budget}” leaves out the other {summary.of_rows - summary.rows:,} images: intervals "
            "are wider than they need be, and small classes may not appear."
        )
    if "frost" in asked:
        found.append(
            "Frost is grown, not photographed: the benchmark's photographs may not be passed on, so that this row is "
            "near the published corruption but not equal to it."
        )
    return [*found, *_error_sentences(summary, asked)]


def _error_sentences(summary: CorruptionsSummary, asked: list[str]) -> list[str]:
    if summary.mean_error is None:
        return []
    missing = [kind_name(kind).lower() for kind in COMMON if kind not in asked]
    without = f" Of the fifteen kinds it leaves out {', '.join(missing)}." if missing else ""
    if summary.alexnet is None:
        return [
            "The mean corruption error is not normalised: it is the plain error over kinds and severities. Dividing by "
            "AlexNet's published errors has a meaning only on ImageNet's thousand classes with all severities."
            f"{without}"
        ]
    return [
        "Both mean corruption errors are shown: the plain one, and the published one in which each kind's error is "
        f"divided by AlexNet's.{without}"
    ]
