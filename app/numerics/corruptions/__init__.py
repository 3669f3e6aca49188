"""Common corruptions: pictures as noise, blur, weather and digital processing leave them, at five severities.

Fifteen kinds and four more for validation, with the parameters of ImageNet-C and of CIFAR-C.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
ICLR 2019.
"""
