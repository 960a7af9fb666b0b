"""ONNX files: ``export_onnx`` writes networks, ``import_onnx`` and ``read_onnx`` read them.

Numpy and onnxruntime run both sides on the same inputs before a file is written and after one is read; ``read_onnx``
also reports what was dropped.
"""

from portable_nn.converters.conversion import Imported
from portable_nn.converters.onnx.exporting import ExportReport, export_onnx
from portable_nn.converters.onnx.importing import import_onnx, read_onnx
from portable_nn.converters.registry import Converter

__all__ = ["ExportReport", "Imported", "export_onnx", "import_onnx", "read_onnx"]

CONVERTER = Converter(
    title="ONNX files",
    packages=("onnx",),
    from_object=read_onnx,
    reads={".onnx": read_onnx},
    writes={".onnx": export_onnx},
)
