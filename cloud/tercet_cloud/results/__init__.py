"""Results of durable frames: stored once each, kept, read, and shown by `tercet results`."""
