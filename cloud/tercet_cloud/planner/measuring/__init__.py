"""Measuring what plans rest on: codecs by tensor, accuracy by candidate; and keeping it."""
