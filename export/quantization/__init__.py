"""Eight-bit networks: post-training quantisation of ONNX files, measured on pictures held out from calibration."""
