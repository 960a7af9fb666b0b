"""Networks to and from other forms: one package or module for each, and nothing that the core needs."""
