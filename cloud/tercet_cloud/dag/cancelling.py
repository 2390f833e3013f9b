"""Cancelling a run from another process than the one that runs it: by its store, whoever lives there."""

from __future__ import annotations

import time

from tercet.errors import DeadlineError
from tercet_cloud.dag.outcomes import RunState
from tercet_cloud.dag.run_lease import BEAT_S, LEASE_S, LeaseWatch
from tercet_cloud.dag.run_store import RunStore

_LOOK_S = BEAT_S / 4


def cancel_run(store: RunStore, run: str, node: str | None) -> str:
    """Ask, and wait until that came to something or the owner turned out to be dead; returns what came of it.

    Raises:
        DeadlineError: nobody has answered.
        SpecError, NotFoundError: see `RunStore.ask_cancel`.
    """
    store.ask_cancel(run, node)
    watch, until_s = LeaseWatch(), time.monotonic() + 2 * LEASE_S
    while time.monotonic() < until_s:
        heard, state = store.heard_cancel(run, node)
        if state.ended:
            return state.value if state is RunState.CANCELLED else f"has ended meanwhile: {state.value}"
        if heard and node is not None:
            return f"{node} and what needs it is given up"
        free = watch.free(store.leases(run), time.monotonic())
        if free and node is None and store.cancel_unowned(free[0]):
            return "cancelled; nobody worked on it"
        if free and node is not None:
            return f"nobody works on it: {node} is given up when somebody goes on with it"
        if state is RunState.QUEUED and node is not None:
            return f"{node} and what needs it is given up when the run begins"
        time.sleep(_LOOK_S)
    raise DeadlineError(f"run {run} was asked to be cancelled; nobody has answered yet: ask again")
