"""What the onnx package itself is asked, in a process of its own."""
