"""Graphs as ONNX models and back, and sessions of onnxruntime. Nothing here knows a network."""
