"""Certified defences against patches: smoothing over kept bands, and covering masks."""
