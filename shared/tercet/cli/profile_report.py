"""A profile as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tercet.cli.profile_options import ProfileOptions, write_profile
from tercet.printable import printable
from tercet.profile import Profile

MIB = 1 << 20
_NAME_CHARS = 48


def deliver(profile: Profile, options: ProfileOptions) -> None:
    """Write the profile to its file, and print it; where it was written goes to stderr."""
    write_profile(profile, options.out)
    if options.as_json:
        click.echo(profile.model_dump_json(indent=2))
    else:
        print_profile(profile, Console())
    click.echo(f"wrote {options.out}", err=True)


def print_profile(profile: Profile, console: Console) -> None:
    console.print(_machine_table(profile))
    console.print(_segments_table(profile))
    console.print(_spans_table(profile))
    console.print(_errors_line(profile))


def _machine_table(profile: Profile) -> Table:
    table = Table(show_header=False, title=escape(f"{profile.model} on {profile.node}, {profile.tier}"))
    table.add_column()
    table.add_column(overflow="fold")
    hardware, memory = profile.hardware, profile.memory
    rows = {
        "machine": f"{hardware.processor}, {hardware.cores} cores, {hardware.memory_bytes / MIB:,.0f} MiB",
        "runtime": f"{profile.runtime}, {', '.join(profile.providers)}, threads: {profile.threads}",
        "measured": f"{profile.measured_at}, {_CLOCKS[profile.clock]}",
        "inputs": ", ".join(f"{name} {'×'.join(map(str, shape))}" for name, shape in profile.shapes.items()),
        "cut": f"{profile.cut}, {len(profile.segments)} segments",
        "memory": f"{memory.runtime_bytes / MIB:.0f} MiB runtime + {memory.loaded_bytes / MIB:.0f} MiB model, "
        f"of which {memory.weights_bytes / MIB:.1f} MiB weights",
    }
    if profile.slowdown > 1:
        rows["emulation"] = f"slowed {profile.slowdown:g} times on purpose"
    for key, value in rows.items():
        table.add_row(key, escape(printable(value)))
    return table


_CLOCKS = {
    "processor": "processor time of the one computing thread",
    "wall": "wall time",
}


def _segments_table(profile: Profile) -> Table:
    table = Table(title="segments, ms")
    table.add_column("", justify="right")
    table.add_column("until", overflow="fold")
    for heading in ("bytes there", "alone", "within", "kernels"):
        table.add_column(heading, justify="right")
    sizes = profile.boundary_bytes or (0,) * len(profile.boundaries)
    for index, segment in enumerate(profile.segments):
        table.add_row(
            str(index),
            _names(profile.boundaries[index + 1]),
            f"{sizes[index + 1]:,}",
            f"{segment.ms:.3f}",
            f"{segment.kernel_ms:.3f}",
            str(len(segment.kernels)),
        )
    within_ms = sum(segment.kernel_ms for segment in profile.segments)
    table.add_section()
    table.add_row("", "sum", "", f"{profile.whole_ms:.3f}", f"{within_ms:.3f}", "")
    return table


def _spans_table(profile: Profile) -> Table:
    table = Table(title="stretches, ms")
    for heading in ("from", "to"):
        table.add_column(heading, overflow="fold")
    for heading in ("sessions", "measured", "predicted", "error", ""):
        table.add_column(heading, justify="right")
    for span in profile.spans:
        ends = (_names(profile.boundaries[span.start]), _names(profile.boundaries[span.stop]))
        table.add_row(*ends, str(span.sessions), *_figures(span.measured_ms, span.predicted_ms, span.fitted))
    if profile.slices:
        table.add_section()
    for item in profile.slices:
        table.add_row(
            _names(item.start), _names(item.stop), "1", *_figures(item.measured_ms, item.predicted_ms, False)
        )
    return table


def _figures(measured_ms: float, predicted_ms: float, fitted: bool) -> tuple[str, str, str, str]:
    error = (predicted_ms - measured_ms) / max(measured_ms, 1e-9)
    return f"{measured_ms:.3f}", f"{predicted_ms:.3f}", f"{error:+.1%}", "fitted" if fitted else ""


def _errors_line(profile: Profile) -> str:
    unseen = sum(not span.fitted for span in profile.spans) + len(profile.slices)
    return (
        f"a session costs {profile.session_ms:.3f} ms and {profile.crossing_ms_per_mb:.3f} ms per MB at its ends; "
        f"median error over the {unseen} stretches that were not fitted: [bold]{profile.median_error:.1%}[/bold]"
    )


def _names(names: Sequence[str]) -> str:
    return escape(", ".join(_shortened(names)))


def _shortened(names: Iterable[str]) -> Iterable[str]:
    return (printable(name, _NAME_CHARS) for name in names)
