"""The contents of a model as rows, as text, as HTML and as JSON."""

from portable_nn.inspection.rows import Inspection, inspect_manifest
from portable_nn.inspection.text import as_brief, as_html, as_json, as_text

__all__ = ["Inspection", "as_brief", "as_html", "as_json", "as_text", "inspect_manifest"]
