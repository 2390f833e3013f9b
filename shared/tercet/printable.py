"""Text from peers and files made fit for one line of a terminal, a log or an answer."""

from __future__ import annotations


def printable(text: str, limit: int | None = None) -> str:
    """`text` with line breaks, escape sequences and other invisible characters spelled out, as in repr.

    Args:
        limit: characters of the result; more are cut off, visibly.
    """
    if not text.isprintable():
        text = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
        )
    if limit is not None and len(text) > limit:
        return text[: limit - 1] + "…"
    return text
