"""Data in: readers of pictures, tables and arrays, and the preprocessing that travels with a model."""
