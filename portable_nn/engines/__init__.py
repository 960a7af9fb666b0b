"""Engines run graphs: ``plan`` in numpy, ``runtime`` in onnxruntime."""
