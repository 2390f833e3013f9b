"""Durable frames: what every tier needs to keep them until the next one has them."""
