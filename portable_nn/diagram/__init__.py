"""Diagrams of models, as pictures and for Graphviz: boxes for the inputs, the nodes and the outputs."""

from portable_nn.diagram.boxes import Box, Diagram, diagram
from portable_nn.diagram.dot import as_dot
from portable_nn.diagram.picture import draw

__all__ = ["Box", "Diagram", "as_dot", "diagram", "draw"]
