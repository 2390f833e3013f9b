"""How many connections a process may hold open."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


def raise_file_limit() -> int:
    """Raise this process's limit of open files, which children inherit, as far as it may be; returns it.

    The usual soft limit of 1024 would end a broker's service at about a thousand devices.
    """
    try:
        import resource
    except ImportError:  # no POSIX system, no such limit
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("open files stay limited", extra={"limit": soft, "reason": str(error)})
            return soft
    return hard
