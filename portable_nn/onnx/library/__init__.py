"""The questions to the onnx package, in a process of its own."""
