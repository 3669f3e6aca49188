"""Randomised smoothing (Cohen, Rosenfeld, Kolter 2019): what a classifier says of an image under Gaussian noise.

All of it counts how often noisy copies of an image are taken for a class; no gradient is needed. Networks are any
callables from images float32 [b, channels, height, width] to logits [b, C].
"""
