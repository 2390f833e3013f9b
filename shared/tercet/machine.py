"""The machine this process runs on, in words and numbers, without extra packages."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path

from tercet.profile import Hardware

_TEXT_CHARS = 256


def this_machine() -> Hardware:
    """Processor name as the system tells it, cores this process may use, memory in bytes (0 if unknown)."""
    return Hardware(processor=_processor()[:_TEXT_CHARS], cores=_cores(), memory_bytes=_memory_bytes())


def resident_bytes() -> int:
    """What this process holds in memory; where the system does not tell, the most it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts[key.strip()] = value.strip()
    # Boards name themselves under "Model", x86 processors under "model name".
    name = facts.get("model name") or facts.get("Model") or facts.get("Hardware") or platform.processor()
    return f"{name} ({platform.machine()})" if name else platform.machine() or "unknown"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0
