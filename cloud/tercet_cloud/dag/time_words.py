"""How long something took, in words."""

from __future__ import annotations


def time_words(took_s: float | None) -> str:
    """`250 ms` or `2.50 s`; "" where it is not known."""
    if took_s is None:
        return ""
    return f"{took_s * 1000:.0f} ms" if took_s < 1 else f"{took_s:.2f} s"
