"""Adversarial attacks on images: L∞ and L2, with gradients and without, one after the other on what survives.

A network is any callable from pixels [n, channels, height, width] in [0, 1] to logits [n, C]. What is random about an
example depends on the seed, the attack and the example's key alone, not on the batch it stands in.
"""
