"""Lessons as pages: one HTML file each, offline, with controls; they compute in the browser what this package computes.

>>> from portable_nn.lessons import game_page
>>> game_page("bilinear", "extragradient")[:15]
b'<!doctype html>'
"""

from portable_nn.lessons.game import game_page
from portable_nn.lessons.size import size_page

__all__ = ["game_page", "size_page"]
