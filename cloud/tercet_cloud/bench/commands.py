"""`tercet bench …`"""

from __future__ import annotations

from pathlib import Path

import click

from tercet.cascade.exit_rule import ScoreKind
from tercet.process import run_service
from tercet_cloud.command_options import json_option, out_option, own_store_option


@click.group()
def bench() -> None:
    """Measure Tercet on this machine; every figure in the docs names its command."""


@bench.command()
@click.option("--frames", type=click.IntRange(20, 100_000), default=300, show_default=True)
@click.option("--codec", type=click.Choice(["raw", "fp16", "int8"]), default="int8", show_default=True)
@json_option
@out_option("bench-hops", "logs and results")
@own_store_option
def hops(frames: int, codec: str, as_json: bool, out: Path, store: Path) -> int:
    """What the way device→edge→cloud→device costs beside computing, hop by hop.

    One device sends photos one after another over loopback. Beside it, in the same run: a bare grpc.aio echo, a
    bare MQTT echo, and an empty call through Ray Serve, with messages as large as the real ones.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.hops import HopsOptions, bench_hops

    return run_service(lambda shutdown: bench_hops(HopsOptions(frames, codec, as_json, out, store), shutdown))


@bench.command()
@click.option(
    "--callers",
    type=click.IntRange(1, 1000),
    multiple=True,
    default=(10, 50, 100),
    show_default=True,
    help="Concurrent callers; repeat for more.",
)
@click.option("--seconds", type=click.FloatRange(0.2, 600), default=2.0, show_default=True, help="Of each round.")
@click.option("--rounds", type=click.IntRange(1, 100), default=2, show_default=True)
@click.option(
    "--devices",
    type=click.IntRange(0, 10_000),
    default=0,
    show_default=True,
    help="Light devices that send a frame a second each through one edge.",
)
@click.option("--devices-s", type=click.FloatRange(1, 86_400), default=60.0, show_default=True)
@click.option("--only-devices", is_flag=True, help="Measure nothing but --devices.")
@json_option
@out_option("bench-serve", "logs and results")
def serve(
    callers: tuple[int, ...],
    seconds: float,
    rounds: int,
    devices: int,
    devices_s: float,
    only_devices: bool,
    as_json: bool,
    out: Path,
) -> int:
    """Answers a second, and how late, under many callers: at the edge, from edge to cloud, and in the cloud.

    A small network, with and without batching, beside a bare grpc.aio echo in the same rounds.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.serve_rate import ServeOptions, bench_serve

    chosen = () if only_devices else callers
    options = ServeOptions(chosen, seconds, rounds, devices, devices_s, as_json, out)
    return run_service(lambda shutdown: bench_serve(options, shutdown))


@bench.command()
@click.option("--devices", type=click.IntRange(1, 1000), default=8, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5, 600), default=5.0, show_default=True, help="Of each row.")
@click.option(
    "--queued",
    type=click.IntRange(1, 1_000_000),
    default=26_500,
    show_default=True,
    help="Frames that nodes find in their journals when they are started again.",
)
@json_option
@out_option("bench-durable", "durable.json, journals and logs")
def durable(devices: int, seconds: float, queued: int, as_json: bool, out: Path) -> int:
    """Durable frames a second through an edge into a store, and how soon nodes with a long queue serve again.

    A small network; several light devices, each with one message under way. Beside it the bare rate at which this
    disk takes small writes for good.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.durable_rate import DurableOptions, bench_durable

    options = DurableOptions(devices, seconds, queued, as_json, out)
    return run_service(lambda shutdown: bench_durable(options, shutdown))


@bench.command()
@click.argument("model")
@click.option(
    "--boundary",
    "boundaries",
    multiple=True,
    metavar="TENSOR[,TENSOR…]",
    help="Where to cut, in data-flow order; repeat for more. Default: where one tensor crosses that is no larger "
    "than any before it.",
)
@click.option("--all", "all_ends", is_flag=True, help="Every place where one tensor crosses; takes long.")
@click.option(
    "--codec",
    "codecs",
    multiple=True,
    help="A codec to measure; repeat for more. `static@METHOD` is calibrated here, e.g. "
    "int3:static@percentile-99.9+zstd:19. Default: a menu of sensible ones.",
)
@click.option(
    "--photos",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of photos to evaluate on; for classifiers named …_LABEL.jpg. Default: the last three of the "
    "demo's photos, unlabelled.",
)
@click.option(
    "--calibration",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of other photos, to calibrate on. Default: the demo's photos that are not evaluated on.",
)
@click.option(
    "--crops", type=click.IntRange(1, 1000), default=6, show_default=True, help="Crops of each photo of --photos."
)
@json_option
@out_option("bench-codec", "codec.json and codec.svg")
@own_store_option
def codec(
    model: str,
    boundaries: tuple[str, ...],
    all_ends: bool,
    codecs: tuple[str, ...],
    photos: Path | None,
    calibration: Path | None,
    crops: int,
    as_json: bool,
    out: Path,
    store: Path,
) -> None:
    """Bytes against accuracy: every codec at every boundary of MODEL, beside the image as PNG, JPEG and WebP.

    Static codecs are calibrated on photos that are not evaluated on.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.codec_command import CodecOptions, bench_codec

    bench_codec(CodecOptions(model, boundaries, all_ends, codecs, photos, calibration, crops, as_json, out, store))


@bench.command()
@json_option
def relay(as_json: bool) -> None:
    """How truly emulated links keep to their rate and delay: what `bench planner` and the demo rest on."""
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.relay_accuracy import bench_relay

    bench_relay(as_json)


@bench.command()
@click.option("--quick", is_flag=True, help="Only one network under three conditions are really run.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["solve", "fleet", "oracle"]),
    help="Only this part; repeat for more. Default: all.",
)
@json_option
@out_option("bench-planner", "planner.json, photos, records and logs")
@own_store_option
def planner(quick: bool, parts: tuple[str, ...], as_json: bool, out: Path, store: Path) -> int:
    """How quickly plans are found, and how good they are: chosen plans and others, really run and timed.

    solve: one codec pair, a whole menu and a plan table, on networks of up to 700 operations. fleet: 100,000
    devices. oracle: an emulated stack (device and edge slowed by sleeping, links shaped by a relay), three networks
    under thirteen conditions; the plan that the planner chooses against every baseline, the best plans of other
    codecs and a grid of cuts. All takes some 25 minutes, with --quick a few; one network needs the extra `bench`.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.planner_command import PlannerOptions, bench_planner

    return run_service(lambda shutdown: bench_planner(PlannerOptions(parts, quick, as_json, out, store), shutdown))


@bench.command("codec-cnn")
@click.option(
    "--data",
    type=click.Path(dir_okay=False, path_type=Path),
    help="An .npz with train_images, train_labels, test_images, test_labels. Default: scikit-learn's digits.",
)
@json_option
def codec_cnn(data: Path | None, as_json: bool) -> None:
    """Right answers lost by codecs in a small network that is trained here first, in seconds."""
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.codec_cnn import bench_codec_cnn

    bench_codec_cnn(data, as_json)


@bench.command()
@click.option("--frames", type=click.IntRange(2, 10_000), default=45, show_default=True, help="Per sequence.")
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photos to film, at least 320 pixels wide. Default: the demo's.",
)
@json_option
@out_option("bench-delta", "delta.json")
@own_store_option
def delta(frames: int, photos: Path | None, as_json: bool, out: Path, store: Path) -> None:
    """What temporal delta saves on sequences: a camera that stands still, and one that turns.

    Sequences are cut from photos, with fresh sensor noise in every frame.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.delta_command import DeltaOptions, bench_delta

    bench_delta(DeltaOptions(frames, photos, as_json, out, store))


@bench.command()
@click.option(
    "--phase-s", type=click.FloatRange(2, 600), default=8.0, show_default=True, help="How long each speed lasts."
)
@click.option("--rate-hz", type=click.FloatRange(0.5, 100), default=6.0, show_default=True, help="Frames a second.")
@json_option
@out_option("bench-adapt", "adapt.json, results and logs")
@own_store_option
def adapt(phase_s: float, rate_hz: float, as_json: bool, out: Path, store: Path) -> int:
    """Plans chosen for every frame while the first link steps from 50 to 2 Mbit/s and back.

    Beside them every plan of the same table held fixed, all-device, photos to the cloud, and an oracle that knows
    the link and takes the best fixed plan of each phase. Links and slow tiers are emulated on this machine.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.adapt.command import AdaptOptions, bench_adapt

    return run_service(lambda shutdown: bench_adapt(AdaptOptions(phase_s, rate_hz, as_json, out, store), shutdown))


@bench.command()
@click.option(
    "--data",
    type=click.Path(dir_okay=False, path_type=Path),
    help="An .npz with train_images, train_labels, test_images, test_labels. Default: scikit-learn's digits.",
)
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Certified risk of the exits.")
@click.option("--delta", type=float, default=0.05, show_default=True, help="Chance that a certificate is wrong.")
@click.option(
    "--calibration",
    type=click.IntRange(1),
    help="Frames to calibrate on. Default: three quarters of the pool, at most 2000.",
)
@click.option("--trials", type=click.IntRange(1, 100_000), default=300, show_default=True, help="Calibrations.")
@click.option("--streams", type=click.IntRange(1, 10_000), default=30, show_default=True, help="Of each drift.")
@click.option(
    "--frames", type=click.IntRange(10), default=4000, show_default=True, help="Before, in and after a drift, each."
)
@click.option("--share", type=float, default=0.05, show_default=True, help="Of confident frames that are audited.")
@click.option(
    "--score",
    type=click.Choice(["max-softmax", "margin", "energy"]),
    default="max-softmax",
    show_default=True,
    help="What exits of the streams go by.",
)
@json_option
def cascade(
    data: Path | None,
    alpha: float,
    delta: float,
    calibration: int | None,
    trials: int,
    streams: int,
    frames: int,
    share: float,
    score: ScoreKind,
    as_json: bool,
) -> None:
    """Early exits: what certified thresholds save, how often certificates break, what the audit does in a drift.

    Trains a tiny, a mid and a large network first, in seconds (digits) to minutes.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.cascade_command import CascadeOptions, bench_cascade

    bench_cascade(CascadeOptions(data, alpha, delta, calibration, trials, streams, frames, share, score, as_json))


@bench.command()
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["makespan", "overhead", "growth", "priority", "throughput", "durable", "events"]),
    help="Only this part; repeat for more. Default: all.",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes. Default: one per processor.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option(
    "--nodes", type=click.IntRange(10, 10_000), default=200, show_default=True, help="Of a makespan's graph."
)
@click.option(
    "--large", type=click.IntRange(100, 100_000), default=10_000, show_default=True, help="The largest graph."
)
@click.option("--high-runs", type=click.IntRange(10, 10_000), default=200, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(0.5, 600), default=5.0, show_default=True, help="Of each throughput."
)
@json_option
@out_option("bench-dag", "dag.json and kept runs")
def dag(
    parts: tuple[str, ...],
    workers: int | None,
    rounds: int,
    nodes: int,
    large: int,
    high_runs: int,
    seconds: float,
    as_json: bool,
    out: Path,
) -> int:
    """Pipelines on Ray: makespans, overhead, growth, priorities, throughput, events; beside bare Ray tasks.

    Starts a Ray of its own. Figures say how busy the machine was before.
    """
    # Deferred so that `--help` is quick.
    from tercet_cloud.bench.dag.command import DagOptions, bench_dag

    return bench_dag(DagOptions(parts, workers, rounds, nodes, large, high_runs, seconds, as_json, out))
