"""Deployment: ONNX graphs written and read, integer arithmetic, silence for other libraries."""
