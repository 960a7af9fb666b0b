"""Pictures of models, and text for Graphviz: boxes for what goes in, the nodes, and what comes out."""

from portable_nn.diagram.boxes import Box, Diagram, diagram
from portable_nn.diagram.dot import as_dot
from portable_nn.diagram.picture import draw

__all__ = ["Box", "Diagram", "as_dot", "diagram", "draw"]
