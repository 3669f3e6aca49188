"""Scenes: the project's own generator of small three-dimensional pictures with known factors."""
