"""Faults against whole running systems: real processes, a real broker, a real Ray. `make chaos` runs all of it."""
