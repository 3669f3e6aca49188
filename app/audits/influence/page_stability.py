"""How stable a method's lists are, in words: what both halves of the evidence agree on, beside what noise would."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.influence.schema import SharedTops, Stability

STABLE_SHARE = 0.5


class Steadiness(BaseModel):
    """What a subject's two lists share with those of the other half of the evidence."""

    verdict: str = Field(description="One short sentence.")
    noise: bool = Field(description="Whether neither end shares more than noise would.")
    text: str = Field(description="The counts behind it.")


def steadiness(shared: tuple[int, int], stability: Stability) -> Steadiness:
    """Judge one subject's lists by the images that both halves name, among the most helpful and the most harmful."""
    noisy = [count <= stability.noise for count in shared]
    text = (
        f"Either half of the {stability.halves} alone names {shared[0]} of the same {stability.compared} most helpful "
        f"and {shared[1]} of the same {stability.compared} most harmful images; two lists of noise would share "
        f"{_number(stability.chance)}, and seldom more than {stability.noise}."
    )
    return Steadiness(verdict=_verdict(noisy, min(shared) / stability.compared), noise=all(noisy), text=text)


def _verdict(noisy: list[bool], least: float) -> str:
    if all(noisy):
        return "This ranking is noise."
    if any(noisy):
        return f"The most {'helpful' if noisy[0] else 'harmful'} are noise."
    return "Stable ranking." if least >= STABLE_SHARE else "The ranking is only partly stable."


def stability_sentences(stability: Stability | None) -> list[str]:
    """Return what a run's page says of the lists of all audited images."""
    if stability is None:
        return []
    return [
        f"Stability of TRAK’s lists: either half of the {stability.halves} alone names the same "
        f"{_mean(stability.helpful)} of {stability.compared} most helpful and {_mean(stability.harmful)} of "
        f"{stability.compared} most harmful images (95 % interval over n = {stability.targets:,} audited images; noise "
        f"would share {_number(stability.chance)}).",
        _noisy(stability),
    ]


def _noisy(stability: Stability) -> str:
    helpful, harmful = stability.helpful.noisy, stability.harmful.noisy
    if not helpful and not harmful:
        return "No list is as unstable as noise."
    return (
        f"Noise cannot be told from the most helpful list of {helpful:,} audited images and from the most harmful list "
        f"of {harmful:,}; their pages say so."
    )


def _mean(tops: SharedTops) -> str:
    return f"{tops.mean:.1f} [{tops.low:.1f}, {tops.high:.1f}]"


def _number(value: float) -> str:
    return f"{value:.1f}" if value >= 0.05 else "none"
