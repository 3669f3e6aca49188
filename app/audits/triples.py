"""Original, change and result of a kept image, as pages show them; drawn by `_partials/changed.html`. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, Field

from app.audits.base import RunReader, Subject
from app.audits.changed import CHANGE, ORIGINAL, RESULT


class Shown(BaseModel):
    """One of three pictures."""

    src: str
    alt: str
    text: str = Field(description="Line below it: a prediction, or that it is amplified and how far.")
    wrong: bool | None = Field(description="Whether the model is wrong on it; none: it is no image to classify.")


class Triple(BaseModel):
    """An image that a change made wrong."""

    href: str
    text: str = Field(description="What broke it, at which ε.")
    pictures: list[Shown]


@dataclass(frozen=True)
class KeptPictures:
    """The pictures that a kind's stage kept, as `app.audits.changed.kept_pictures` lays them down."""

    reader: RunReader
    kind: str
    stage: str
    numbers: dict[tuple[int, int], int]
    """The number of each picture by position and part."""

    @staticmethod
    def of(reader: RunReader, kind: str, stage: str) -> KeptPictures:
        """Read which there are."""
        places = reader.array(kind, stage, "pictures.of").tolist()
        numbers = {(position, part): number for number, (position, part) in enumerate(places)}
        return KeptPictures(reader, kind, stage, numbers)

    def __contains__(self, position: int) -> bool:
        return (position, RESULT) in self.numbers

    def triple(self, position: int, text: str, label: str, before: str, after: str) -> Triple:
        """An image's three pictures with the names of its label and of both predictions."""
        of = {part: self.numbers[position, part] for part in (ORIGINAL, CHANGE, RESULT)}
        factor = float(self.reader.array(self.kind, self.stage, "pictures.amplified")[of[CHANGE]])
        src = {part: self.reader.kept_picture(self.kind, self.stage, number) for part, number in of.items()}
        amplified = f"change, amplified ×{factor:.3g}"
        return Triple(
            href=self.reader.link(Subject("image", self.reader.run_id, row=position + self.reader.split_start)),
            text=text,
            pictures=[
                Shown(src=src[ORIGINAL], alt=f"{label}, original: taken for {before}", text=before, wrong=False),
                Shown(src=src[CHANGE], alt="The change, amplified", text=amplified, wrong=None),
                Shown(src=src[RESULT], alt=f"{label}, changed: taken for {after}", text=after, wrong=True),
            ],
        )
