"""ONNX files: networks go out proved, and come in whole.

``export_onnx`` and ``import_onnx`` run both sides on the same inputs before anything is believed; ``read_onnx`` tells
also what could not be kept. The modules below them, from the bottom: ``tensors`` translates single things, ``opsets``
nodes (by the tables in ``forms`` and ``pads``), ``model`` graphs, ``documentation`` what is said of them; ``losses``
lists what is not kept; ``files`` opens files, ``verify`` compares engines, ``convert`` knows networks.
"""

from portable_nn.converters.onnx.convert import Imported, Report, export_onnx, import_onnx, read_onnx

__all__ = ["Imported", "Report", "export_onnx", "import_onnx", "read_onnx"]
