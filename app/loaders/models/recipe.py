"""How a model version was trained, and can be trained again; read by the web process, so no torch here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import UserError


class Recipe(BaseModel):
    """A training recipe; preprocessing is the version's own, and the architecture where its weights came with one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(64, ge=1, le=65_536)
    learning_rate: float = Field(gt=0, le=100, description="The largest of the schedule.")
    optimiser: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(
        0.9, ge=0, lt=1, description="Of sgd (Nesterov's where positive); β₁ of adamw. The middle with one_cycle."
    )
    weight_decay: float = Field(0.0, ge=0, le=10)
    schedule: Literal["constant", "cosine", "one_cycle", "step"] = Field(
        "one_cycle", description="step: a tenth of the rate from half of the steps on, a hundredth from three quarters."
    )
    warmup: float = Field(0.3, ge=0, le=0.9, description="Share of the steps over which the rate rises.")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    shift: int = Field(0, ge=0, le=1024, description="Pixels by which an image is moved at most, its border repeated.")
    mirror: bool = Field(False, description="Whether half of the images are flipped left to right.")
    noise: float = Field(
        0.0, ge=0, le=2, description="Standard deviation of Gaussian noise on every training image, pixels from 0 to 1."
    )
    clip: float = Field(0.0, ge=0, le=1e6, description="Largest norm of the gradient; 0: no limit.")
    average: float = Field(0.0, ge=0, lt=1, description="Decay of a moving average of the weights; 0: none.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: faster on processors that have it; weights and loss stay float32."
    )
    architecture: str | list[dict[str, Any]] = Field(
        "",
        description="What to train, as a name or a list of layers; needed where the version is no safetensors file, "
        "and ignored where it is.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of the first weights, the order of the images, and dropout.")


def read_recipe(text: str) -> Recipe:
    """Read a recipe from JSON.

    Raises:
        UserError: it is not JSON, or a field is missing, unknown or out of range; the sentence names it.
    """
    try:
        return Recipe.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if not place:
            raise UserError(f"The recipe is not a JSON object such as {_EXAMPLE}: {first['msg']}.") from error
        raise UserError(f"The recipe's {place}: {first['msg'][0].lower()}{first['msg'][1:]}.") from error


_EXAMPLE = '{"epochs": 12, "learning_rate": 0.1}'
