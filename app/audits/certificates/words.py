"""Sentences of the kind `certificates`. Imports no torch."""

from __future__ import annotations

from app.audits.certificates.schema import CertificatesSummary, Level

MEANING = (
    "“Proven” means: no image whose every pixel value differs by at most ε gets another class, whatever an attack may "
    "try; what rounding in float32 can add is part of the proof. It is about the network after resizing and cropping, "
    "about this ε and L∞ alone, and not about turned, blurred or otherwise changed images, nor about other images."
)
BRACKET = (
    "Robust accuracy lies between the proven share and the share that nothing broke; the images in between are "
    "undecided, and only a dearer proof or a stronger attack would tell. Images that are "
    "wrong as they are count as broken."
)


def sentences(summary: CertificatesSummary) -> list[str]:
    """How it was measured, and what was left out."""
    found = [
        BRACKET,
        MEANING,
        f"{summary.rows:,} of {summary.of_rows:,} labelled images, drawn at random. Each step gets what cheaper "
        "ones left undecided; interval bounds are asked of every right image, and CROWN again of what they prove, "
        "so that the two check each other.",
    ]
    if summary.left_out:
        found.append(summary.left_out)
    if summary.no_gradients:
        found.append(f"Of the attacks only Square ran, since there are no gradients: {summary.no_gradients}")
    if summary.probabilities:
        found.append("The model gives probabilities; proofs are about the logits below them, whose order is the same.")
    found += _complete(summary)
    found.append(f"The budget “{summary.budget}” leaves out {summary.leaves_out}.")
    if summary.rows < summary.of_rows:
        found.append(f"It also leaves out the other {summary.of_rows - summary.rows:,} images.")
    return found


def _complete(summary: CertificatesSummary) -> list[str]:
    found = [summary.no_verifier] if summary.no_verifier else []
    if summary.timeouts:
        found.append(
            f"Complete verification gave up on {summary.timeouts:,} questions, for time or for the network's size."
        )
    if summary.unconfirmed:
        found.append(
            f"{summary.unconfirmed:,} counterexamples of complete verification did not make the network itself wrong, "
            "by rounding; these images stay undecided."
        )
    return found


def doubt(summary: CertificatesSummary) -> str:
    """Why little or nothing was proven; empty where enough was."""
    if summary.not_provable:
        return (
            f"Nothing can be proven of this network. {summary.not_provable} What remains are the attacks, whose share "
            "is an upper bound, and randomised smoothing, which needs no look inside."
        )
    if all(not level.bracket.proven.value for level in summary.levels):
        said = (
            "Nothing could be proven: the network was not trained for it, which is normal for ordinary networks. "
            "Training with bounds, a smaller ε or randomised smoothing would give a certificate."
        )
        return f"{said} {summary.left_out}".rstrip()
    return ""


def verdict(level: Level) -> str:
    """An ε's bracket in a sentence."""
    bracket = level.bracket
    low, high = (f"{100 * share.value:.1f} %" for share in (bracket.proven, bracket.unbroken))
    return f"between {low} and {high} at ε = {level.text}, {bracket.undecided:,} of {bracket.proven.n:,} undecided"
