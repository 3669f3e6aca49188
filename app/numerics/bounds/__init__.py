"""Guaranteed bounds of a ReLU network's logits over a ball of images."""
