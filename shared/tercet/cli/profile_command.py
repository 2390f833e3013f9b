"""`tercet profile` on a light install: it measures a cut model whose segments are in the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tercet.cli.profile_options import ProfileOptions, profile_options
from tercet.cli.profile_report import deliver
from tercet.errors import NotFoundError
from tercet.identifiers import ModelRef
from tercet.models.store import Store

if TYPE_CHECKING:
    from tercet.inference.profiler import ProfileRequest


@click.command()
@profile_options
def profile(options: ProfileOptions) -> None:
    """Measure what MODEL needs on this machine, for the planner.

    MODEL is NAME@DIGEST of a cut model whose segments are in the store; slice it, and copy the store, where the
    cloud extra is installed: `tercet profile NAME` does so there. Measures every segment, ONNX Runtime's kernels,
    longer stretches (better if coarser cuts of the model are in the store as well) and memory, and shows how well
    times predicted from the segments match.
    """
    from tercet.inference.profiler import Profiler

    store = Store(options.store)
    if "@" not in options.model:
        raise NotFoundError(
            f"this install measures cut models, NAME@DIGEST; of {options.model} the store {store.root} has "
            f"{', '.join(_described(store, options.model)) or 'none'}"
        )
    profiler = Profiler(store.manifest(ModelRef(options.model)), store, request_of(options))
    with_progress(options, lambda progress: deliver(profiler.measure(progress=progress).profile, options))


def _described(store: Store, model: str) -> list[str]:
    """The cut models that are there, finest first: that is the one to measure."""
    manifests = sorted(store.manifests(model), key=lambda manifest: -len(manifest.segments))
    return [f"{manifest.ref} ({len(manifest.segments)} segments)" for manifest in manifests]


def request_of(options: ProfileOptions) -> ProfileRequest:
    from tercet.inference.interleaved import Effort
    from tercet.inference.profiler import ProfileRequest

    return ProfileRequest(
        options.tier,
        options.node,
        threads=options.threads,
        providers=options.providers,
        shapes=options.shapes,
        effort=Effort(budget_s=options.seconds),
    )


def with_progress(options: ProfileOptions, work: Callable[[Callable[[float], None]], None]) -> None:
    """Run `work(progress)` with a bar on stderr, which is gone afterwards."""
    columns = (TextColumn("measuring {task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(options.model, total=1.0)
        work(lambda share: bar.update(task, completed=share))
