"""Pieces that the contexts of many pages are made of; each is drawn by a macro of the same name."""

from app.audits.pieces import Estimate, Link, SliceCard, Thumb

__all__ = ["Estimate", "Link", "SliceCard", "Thumb"]
