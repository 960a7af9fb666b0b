"""Graphs as ONNX models and back, and sessions of onnxruntime. This folder does not know ``Network``."""
