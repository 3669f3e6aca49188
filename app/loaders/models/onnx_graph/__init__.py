"""ONNX graphs as differentiable networks: every operation as one of torch's own."""
