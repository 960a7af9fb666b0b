"""Answers of a model for examples: one way for pictures, tables, arrays and the steps of a sequence."""
