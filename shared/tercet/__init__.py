"""What all tiers of Tercet speak: frames, codecs, models, plans, errors, settings and the `tercet` command."""

__version__ = "0.1.0"
