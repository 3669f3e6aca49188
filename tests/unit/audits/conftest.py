"""Fixtures that several modules of tests of audit kinds use."""

from tests.unit.audits.linear_networks import retrained

__all__ = ["retrained"]
