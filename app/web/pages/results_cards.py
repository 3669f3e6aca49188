"""Slices of any kind as cards with the person's own verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from app import audits
from app.audits.pieces import SliceCard
from app.store.models import Finding
from app.store.repositories import findings as repository
from app.store.repositories.findings import SUBJECT
from app.web.reader import LiveReader


def judged_cards(reader: LiveReader, shown: Sequence[Finding], user_id: int) -> list[SliceCard]:
    """Return the findings as cards, in their order."""
    made: dict[int, SliceCard] = {}
    for kind in {finding.kind for finding in shown}:
        for card in audits.kind(kind).cards(reader, [finding for finding in shown if finding.kind == kind]):
            made[card.id] = card
    said = repository.judgements(reader.session, SUBJECT, list(made))
    mine = {entry.subject_id: entry.verdict for entry in said if entry.user_id == user_id}
    ordered = [made[finding.id] for finding in shown if finding.id in made]
    return [card.model_copy(update={"verdict": mine.get(card.id, "")}) for card in ordered]
