"""`tercet demo`: real photos through a real network on three tiers, with the numbers."""
