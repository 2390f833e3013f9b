"""Power cuts: every prefix of what was written to a state folder, as a disk might have kept it."""
