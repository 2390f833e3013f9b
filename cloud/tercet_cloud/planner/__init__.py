"""Choosing where to compute and how to code, from measurements."""
