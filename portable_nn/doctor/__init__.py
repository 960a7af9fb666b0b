"""What an installation has, lacks and computes; see ``report``."""
