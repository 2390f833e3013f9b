"""What all calls that deliver to one process share: models, store, threads, and which frames are in work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from tercet.errors import TercetError, UnavailableError
from tercet_cloud.results.result import ResultKey
from tercet_cloud.results.store import ResultStore
from tercet_cloud.serving.model_host import ModelHost

log = logging.getLogger(__name__)

BROKEN_RETRY_S = 10.0

T = TypeVar("T")
Compute = Callable[[Sequence[bytes]], Awaitable[list[bytes]]]


@dataclass
class Workshop:
    """For one event loop.

    Args:
        compute: answers the frames of one run, when nothing more urgent keeps them waiting.
        run_frames: how many that are at most.
    """

    host: ModelHost
    store: ResultStore
    compute: Compute
    run_frames: int
    under_way: set[ResultKey] = field(default_factory=set)
    # Frames that this process has marked in the store: whatever becomes of them, it is alive.
    marked: set[ResultKey] = field(default_factory=set)
    _executor: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=2, thread_name_prefix="results")
    )
    _store_works: bool = True

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Blocking work beside the thread that computes."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def ask_store(self, call: Callable[[], T]) -> T:
        """`call` of the result store, in a thread; whatever goes wrong there is not the frames' fault.

        Raises UnavailableError, nothing else.
        """
        try:
            answer = await self.in_thread(call)
        except Exception as error:
            if self._store_works:
                foreign = None if isinstance(error, TercetError) else error
                log.error("results cannot be stored", extra={"reason": str(error)}, exc_info=foreign)
            self._store_works = False
            if isinstance(error, UnavailableError):
                raise
            reason = error if isinstance(error, TercetError) else type(error).__name__
            raise UnavailableError(f"the result store fails: {reason}", retry_after_s=BROKEN_RETRY_S) from error
        if not self._store_works:
            log.info("results can be stored again")
        self._store_works = True
        return answer
