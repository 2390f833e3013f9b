"""A whole stack on one machine as real processes: for `tercet demo`, `tercet bench` and end-to-end tests."""
