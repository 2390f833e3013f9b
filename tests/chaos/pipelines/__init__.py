"""Pipelines under faults: what they compute, what became of every execution, and the Ray that they run on."""
