"""A finished plan for people and machines: table, words, one HTML page, JSON."""
