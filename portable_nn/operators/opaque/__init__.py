"""Nodes of ONNX that have no home here, and that onnxruntime runs."""
