"""Mutated frames against everything that opens and decodes what a peer sends. `make fuzz` runs a million."""
