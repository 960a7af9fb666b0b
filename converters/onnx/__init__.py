"""ONNX files: ``export_onnx`` writes networks, ``import_onnx`` and ``read_onnx`` read them.

Numpy and onnxruntime run both sides on the same inputs before a file is written and after one is read; ``read_onnx``
also reports what was dropped.
"""

from portable_nn.converters.conversion import Imported
from portable_nn.converters.onnx.convert import ExportReport, export_onnx, import_onnx, read_onnx

__all__ = ["ExportReport", "Imported", "export_onnx", "import_onnx", "read_onnx"]
