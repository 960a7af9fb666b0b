"""The version of the package, for whatever writes it into files."""

__version__ = "0.1.0"
