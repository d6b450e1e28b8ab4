"""Turns checkpoints and published ONNX files into networks in served form and a Triton model repository."""
