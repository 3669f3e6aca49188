"""Runs jobs: claims, executes stages, sandboxes uploads, manages devices."""
