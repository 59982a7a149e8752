"""Measured efficiency of networks: counts, latency and memory, beside onnxruntime and OpenVINO."""
