"""Networks to and from other code bases: one package or module for each; no lower floor imports them."""
