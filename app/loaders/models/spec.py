"""What a model version says about itself; read by the web process, so no torch here."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Format = Literal["safetensors", "torchscript", "export", "onnx", "predictions"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "box", "lanczos"]
MAX_CLASSES = 100_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(_Strict):
    """The way from RGB pixels to the network's input, in this order: resize, crop, scale, normalise."""

    size: tuple[int, int] = Field((224, 224), description="Height and width that the network takes, in pixels.")
    channels: Literal[1, 3] = Field(3, description="3 for colour, 1 for grey.")
    resize: Literal["none", "shorter", "stretch"] = Field(
        "shorter",
        description="none: pixels as they are; shorter: the shorter side to `resize_to`, keeping proportions; "
        "stretch: to `size`, whatever the proportions.",
    )
    resize_to: int | None = Field(None, ge=1, le=8192, description="Shorter side after resizing; empty: the crop.")
    crop: Literal["center", "none"] = Field("center", description="center: the middle `size` pixels.")
    interpolation: Interpolation = Field("bilinear", description="Antialiased, as Pillow and torchvision do it.")
    colour_order: Literal["RGB", "BGR"] = Field("RGB", description="BGR for networks trained on OpenCV's pixels.")
    scale: Literal[1, 255] = Field(1, description="Largest value before normalisation: 1 or 255.")
    mean: tuple[float, ...] = Field(
        (0.485, 0.456, 0.406), description="Subtracted, per channel in the network's order."
    )
    std: tuple[float, ...] = Field((0.229, 0.224, 0.225), description="Divided by, one value per channel.")

    @field_validator("size")
    @classmethod
    def _reasonable_size(cls, size: tuple[int, int]) -> tuple[int, int]:
        if not all(1 <= side <= 4096 for side in size):
            raise ValueError("height and width must lie between 1 and 4096 pixels")
        return size

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ValueError(f"{name} needs {self.channels} values, one per channel; it has {len(values)}")
        if any(value <= 0 for value in self.std):
            raise ValueError("std must be positive")
        if self.resize == "shorter" and self.crop == "none":
            raise ValueError("resizing the shorter side leaves images of different shapes: crop, or stretch")
        return self

    @property
    def shorter_side(self) -> int:
        """The shorter side after resizing, in pixels."""
        return self.resize_to or min(self.size)


class ModelSpec(_Strict):
    """All that is needed, beside the weights, to run a classifier on an image."""

    format: Format
    architecture: str | list[dict[str, Any]] = Field(
        "", description="Name (timm:…, torchvision:…, cifar_resnet20) or a list of layers; safetensors only."
    )
    preprocessing: Preprocessing = Field(default_factory=Preprocessing)
    classes: tuple[str, ...] = Field((), description="Class names in the order of the network's outputs.")
    outputs: Literal["logits", "probabilities"] = "logits"
    penultimate: bool = Field(True, description="Whether features before the last linear layer can be read.")

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(classes) > MAX_CLASSES:
            raise ValueError(f"more than {MAX_CLASSES:,} classes")
        seen: set[str] = set()
        for name in classes:
            if not name.strip():
                raise ValueError("a class name is empty")
            if name in seen:
                raise ValueError(f"the class name {name!r} occurs twice")
            seen.add(name)
        return classes

    @model_validator(mode="after")
    def _architecture_where_needed(self) -> Self:
        if self.format == "safetensors" and not self.architecture:
            raise ValueError("safetensors holds weights only: name the architecture they belong to")
        return self


class Question(_Strict):
    """Something that the file does not say and that a person must answer."""

    field: str = Field(description="Dotted name in ModelSpec, such as `preprocessing.mean`.")
    text: str
    suggestion: Any = None


class Inspection(_Strict):
    """What a model file says about itself."""

    format: Format
    architecture: str | None = Field(None, description="Best guess from the names and shapes of the weights.")
    architectures: tuple[str, ...] = Field((), description="All built-in architectures that fit the weights.")
    preprocessing: dict[str, Any] = Field(
        default_factory=dict, description="The fields of Preprocessing that the file or architecture settles."
    )
    classes: tuple[str, ...] = ()
    outputs: Literal["logits", "probabilities"] | None = None
    n_outputs: int | None = None
    n_parameters: int | None = None
    penultimate: bool = True
    fixed_batch: int | None = Field(None, description="The only batch size that the exported graph takes.")
    warnings: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
