"""A node that measures the cut models it is about to serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

from tercet.cut_model import CutModel
from tercet.identifiers import NodeId
from tercet.inference.interleaved import Effort, MeasuringStopped
from tercet.inference.profiler import Profiler, ProfileRequest
from tercet.inference.sample_inputs import parse_shapes
from tercet.models.store import Store
from tercet.process import Shutdown
from tercet.profile import Profile
from tercet.tiers import Tier

log = logging.getLogger(__name__)


class NodeSettings(Protocol):
    """What device and edge have in common of settings that matter here."""

    @property
    def node(self) -> NodeId: ...
    @property
    def store(self) -> Path: ...
    @property
    def threads(self) -> int: ...
    @property
    def providers(self) -> tuple[str, ...]: ...
    @property
    def emulated_slowdown(self) -> float: ...
    @property
    def profile_s(self) -> float: ...
    @property
    def profile_shape(self) -> tuple[str, ...]: ...


async def measure_before_serving(
    tier: Tier, settings: NodeSettings, models: Iterable[CutModel], executor: Executor, shutdown: Shutdown
) -> tuple[Profile, ...]:
    """Profiles of all models, one after the other; none if shut down meanwhile.

    Args:
        executor: where segments are computed later, so that nothing is measured beside a frame.
    Raises:
        NotFoundError, IntegrityError: a segment is missing or altered: a node measures all of a model, also what
            it does not run itself.
        SpecError: an input of unknown size.
        SettingsError: `profile_shape` is not what it should be.
    """
    request = ProfileRequest(
        tier,
        settings.node,
        threads=settings.threads,
        providers=settings.providers,
        shapes=parse_shapes(settings.profile_shape),
        effort=Effort(budget_s=settings.profile_s),
        slowdown=settings.emulated_slowdown,
    )
    log.info("measuring before serving", extra={"budget_s": request.effort.budget_s})
    loop = asyncio.get_running_loop()
    profiles = await loop.run_in_executor(
        executor, _measure, list(models), Store(settings.store), request, lambda: shutdown.requested
    )
    for profile in profiles:
        log.info(
            "model measured",
            extra={
                "model": profile.cut,
                "whole_ms": round(profile.whole_ms, 3),
                "median_error": round(profile.median_error, 4),
                "slowdown": profile.slowdown,
            },
        )
    return profiles


def _measure(
    models: Iterable[CutModel], store: Store, request: ProfileRequest, stopped: Callable[[], bool]
) -> tuple[Profile, ...]:
    try:
        return tuple(Profiler(model.manifest, store, request).measure(stopped=stopped).profile for model in models)
    except MeasuringStopped:
        return ()
