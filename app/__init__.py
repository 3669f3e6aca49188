"""Faultline: find, understand and mend the failures of a vision model."""
