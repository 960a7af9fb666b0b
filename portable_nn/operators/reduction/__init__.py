"""Reductions, scans and the largest elements."""
