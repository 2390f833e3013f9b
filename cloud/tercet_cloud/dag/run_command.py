"""`tercet pipeline run` and `retry`: begin, show how it goes, print what came of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from tercet.errors import TercetError
from tercet.links.broker_url import BrokerUrl
from tercet_cloud.dag.call import Means
from tercet_cloud.dag.events.telling import Teller
from tercet_cloud.dag.outcomes import RunState
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.report import describe_run
from tercet_cloud.dag.run_outputs import echo_run
from tercet_cloud.dag.session import PipelineSession, SessionOptions
from tercet_cloud.dag.spec import Pipeline

_STATUS = {RunState.DONE: os.EX_OK, RunState.CANCELLED: os.EX_TEMPFAIL, RunState.EXPIRED: os.EX_TEMPFAIL}


@dataclass(frozen=True)
class RunOptions:
    """See `tercet pipeline run --help`."""

    priority: int | None = None
    deadline_s: float | None = None
    detach: bool = False
    as_json: bool = False
    name: str | None = None


def session_options(
    *,
    state: Path,
    database: str | None,
    store: Path,
    detach: bool,
    ray_address: str,
    workers: int | None,
    cloud: str | None,
    broker_url: str | None,
    fleet: str,
    import_paths: tuple[Path, ...],
) -> SessionOptions:
    """Of the commands' options. SettingsError for a broker's URL that is none."""
    if broker_url is not None:
        BrokerUrl.parse(broker_url)
    return SessionOptions(
        ray_address=ray_address,
        workers=workers,
        state=state,
        database=database,
        shared=detach,
        means=Means(store.resolve(), cloud, broker_url, fleet),
        import_paths=import_paths,
    )


def run_pipeline(
    session: SessionOptions, pipeline: Pipeline, inputs: Mapping[str, Any], options: RunOptions
) -> int:
    """Returns the exit status."""
    teller = Teller.of(session.means)
    with PipelineSession(session) as held:
        run = held.submit(
            pipeline, inputs, priority=options.priority, deadline_s=options.deadline_s, run=options.name
        )
        if options.detach:
            click.echo(json.dumps({"run": run}) if options.as_json else run)
            return os.EX_OK
        return follow_run(held, run, options.as_json, teller)


def retry_run(session: SessionOptions, run: str, as_json: bool) -> int:
    """Go on with a run of the store; returns the exit status."""
    teller = Teller.of(session.means)
    with PipelineSession(session) as held:
        held.resume(run)
        return follow_run(held, run, as_json, teller)


def follow_run(session: PipelineSession, run: str, as_json: bool, teller: Teller | None) -> int:
    """Show how a run goes, print what it gave, then tell its events; returns the exit status."""
    try:
        record = _show_progress(session, run) if not as_json else session.wait(run)
    except KeyboardInterrupt:
        with suppress(TercetError):
            session.cancel(run)
        record = session.wait(run, 30.0)
    record = session.wait(run)
    outputs, missing = session.read_outputs(run)
    echo_run(record, outputs, missing, as_json=as_json)
    if record.state is RunState.DONE and teller is not None:
        # After printing: no trouble of a broker's hides what the run gave.
        events, untold = session.read_outputs(run, events=True)
        for key, error in untold.items():
            click.echo(f"tercet: event {key}: {error}", err=True)
        missing.update(untold)
        if events:
            asyncio.run(teller.tell(events))
    return os.EX_DATAERR if missing else _STATUS.get(record.state, os.EX_SOFTWARE)


def _show_progress(session: PipelineSession, run: str) -> RunRecord:
    console = Console(stderr=True)
    if not console.is_terminal:
        record = session.wait(run)
        console.print(describe_run(record))
        return record
    records = session.watch(run)
    record = next(records)
    with Live(describe_run(record), console=console, refresh_per_second=8) as live:
        for record in records:
            live.update(describe_run(record))
    return record
