"""Runs what makes load as a process of its own, so that its work does not count as the measured process's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from tercet.errors import UnavailableError
from tercet.process import die_with_parent


async def run_load(module: str, arguments: Sequence[str], timeout_s: float) -> str:
    """The one line that a load process prints; UnavailableError with its last words if it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, problems = await process.communicate()
    except TimeoutError as error:
        raise UnavailableError(f"{module} {arguments[0]} did not end within {timeout_s:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = problems.decode(errors="replace").strip().splitlines() or ["no output"]
        raise UnavailableError(f"{module} {arguments[0]} failed: {lines[-1]}")
    return out.decode()
