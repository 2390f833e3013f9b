"""Choosing by what is measured now: links, load, and whether predictions still hold. Pure."""
