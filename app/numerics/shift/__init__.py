"""How a second set of images differs from the first, and what that does to a model's accuracy."""
