"""Methods: their updates, written once over an oracle, and the table of methods."""
