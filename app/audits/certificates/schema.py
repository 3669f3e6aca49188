"""Parameters and results of the kind `certificates`. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from app.audits.attacks.schema import NAMES as ATTACKS
from app.audits.epsilon import checked
from app.audits.pieces import Estimate

Budget = Literal["quick", "standard", "thorough"]
BOUNDS = ("interval bounds (IBP)", "CROWN", "convex outer polytope")
"""Proofs by bounds in their order; the array `bounds` names them by place."""
PGD, FIRST_BOUND, COMPLETE, FIRST_ATTACK = 0, 1, 4, 5
STEPS = ("PGD", *BOUNDS, "complete verification", *ATTACKS)
"""All that can decide an image, in their order; arrays name them by place."""
RADIUS = len(STEPS)
"""Place of the search for proven radii among the costs, behind those of the steps."""
WRONG, UNDECIDED = -2, -1
BROKEN, OPEN, PROVEN = 0, -1, 1
"""Values of the array `state`."""
NOT_ASKED, TIMEOUT, SAFE, UNSAFE, TOO_LARGE, NOT_REPLAYED = -1, 0, 1, 2, 3, 4
"""Values of the array `complete`; the last: what it found does not make the network wrong."""
EVIDENCE = ("right", "found", "bounds", "complete")
"""What decides an image; see `app.audits.certificates.evidence`."""
PROVEN_SCORE, UNBROKEN_SCORE = "certificates_proven", "certificates_unbroken"
"""Columns of the score table."""
COSTS = ("asked", "passes", "seconds")
"""Columns of the costs of a step."""


class Params(BaseModel):
    """What a person can set."""

    radii: list[str] = Field(
        default_factory=lambda: ["1/255", "8/255"],
        title="ε, one a line",
        description="Largest change of any pixel value (L∞), in pixel values from 0 to 1, before normalisation: a "
        "number or a fraction, up to five of them. Ordinary networks are provable at small ε only; usual are 0.1 for "
        "digits, 2/255 and 8/255 for small photographs.",
    )
    budget: Budget = Field(
        "quick",
        description="quick: 100 images drawn at random, PGD, then bounds (IBP, CROWN, convex outer polytope). "
        "standard: 500 images, also complete verification for up to 5 s an image, and AutoAttack’s standard ensemble "
        "on what is left undecided. thorough: 2,000 images, complete verification for up to 60 s.",
    )
    images: int = Field(
        0,
        ge=0,
        le=1_000_000,
        title="Images",
        description="How many are drawn; 0: as many as the budget says.",
    )

    @field_validator("radii")
    @classmethod
    def _numbers(cls, given: list[str]) -> list[str]:
        return checked(given, "Linf")


class Bracket(BaseModel):
    """Between what is proven and what no attack broke lies robust accuracy."""

    proven: Estimate = Field(description="Share that is right and proven to stay so, with Wilson’s interval.")
    unbroken: Estimate = Field(description="Share that is right and that nothing broke, with Wilson’s interval.")
    undecided: int = Field(description="Images that are neither proven nor broken: the bracket's width.")


class Level(BaseModel):
    """All images at one ε."""

    text: str = Field(description="ε as it was written.")
    radius: float
    bracket: Bracket


class GroupRow(BaseModel):
    """Images that have something in common, at the ε that lists show."""

    name: str
    class_index: int | None = None
    clean: Estimate
    bracket: Bracket


class Step(BaseModel):
    """What one step decided, and what it cost."""

    name: str
    proven: list[int] = Field(description="Images that it was the first to prove, by ε.")
    broken: list[int] = Field(description="Images that it was the first to break, by ε.")
    asked: int = Field(description="Images that it was asked about, each ε counted.")
    passes: int = Field(description="Images shown to the network, a gradient counted as three; 0: not counted so.")
    seconds: float = Field(description="Time of the step on the machine that ran it, all shards together.")


class Radius(BaseModel):
    """Proven share at one ε, from each image's own proven radius."""

    radius: float
    share: Estimate


class CertificatesSummary(BaseModel):
    """What could be proven, what was broken, and what is left."""

    unavailable: str = ""
    not_provable: str = Field("", description="Why nothing can be proven of this network; empty where it can be.")
    no_gradients: str = Field("", description="Why only the attack without gradients ran; empty where all did.")
    left_out: str = Field("", description="Which proofs were left out for the size of the network, and why.")
    no_verifier: str = Field("", description="Why complete verification was left out although the budget asks for it.")
    probabilities: bool = Field(False, description="Whether the network returns probabilities.")
    budget: Budget = "quick"
    rows: int = Field(0, description="Images that were asked about.")
    of_rows: int = Field(0, description="Images of the audited split that have a label.")
    clean: Estimate | None = None
    levels: list[Level] = Field([], description="By rising ε.")
    shown: int = Field(0, description="Place of the ε that lists of classes and slices show.")
    steps: list[Step] = []
    timeouts: int = Field(0, description="Questions that complete verification gave up on, for time or size.")
    unconfirmed: int = Field(0, description="Counterexamples that the network itself did not confirm.")
    curve: list[Radius] = Field([], description="Proven share by ε; empty where radii were not looked for.")
    median: float | None = Field(None, description="Median proven radius of all images; wrong ones have none: 0.")
    classes: list[GroupRow] = Field([], description="The classes of which least is proven, at the ε shown.")
    of_classes: int = 0
    leaves_out: str = ""
