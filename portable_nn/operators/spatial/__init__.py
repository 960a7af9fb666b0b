"""Operators with windows or positions along the axes of an image: convolutions, pools, resizing, sampling."""
