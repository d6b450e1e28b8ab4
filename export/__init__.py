"""Checkpoints and published ONNX files in, ONNX files the pipeline can serve and a Triton model repository out."""
