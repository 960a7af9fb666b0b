"""The examination of an installation; see ``report``."""
