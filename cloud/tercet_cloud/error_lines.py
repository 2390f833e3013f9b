"""Errors of Ray in one line: it puts the cause at the end of long texts."""

from __future__ import annotations

from tercet.printable import printable

_SHOWN_CHARS = 300


def last_line(error: BaseException) -> str:
    """The last line that says something, fit to be shown; of an error without words its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[-1] if lines else type(error).__name__, _SHOWN_CHARS)
