"""`tercet cascade …`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import click
from rich.console import Console

from tercet.cascade.exit_rule import ScoreKind
from tercet_cloud.command_options import json_option, store_option


@click.group()
def cascade() -> None:
    """Cascades: small models answer what they are sure of, larger ones the rest.

    \b
    tercet cascade calibrate --stage tiny --stage mid --stage large --photos photos/ --out cascade.yaml
    tercet cascade show cascade.yaml
    """


@cascade.command()
@click.option(
    "--stage",
    "stages",
    multiple=True,
    required=True,
    metavar="MODEL[:TIER]",
    help="A model of the store, small to large; two or three. Default tiers: device, edge, cloud.",
)
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Risk allowed: P(wrong | exit).")
@click.option("--delta", type=float, default=0.05, show_default=True, help="Chance that a certificate is wrong.")
@click.option("--score", type=click.Choice(get_args(ScoreKind)), default="max-softmax", show_default=True)
@click.option(
    "--photos",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of photos like those to come. Default: crops of sample photos.",
)
@click.option(
    "--inputs",
    type=click.Path(dir_okay=False, path_type=Path),
    help="For models that take tensors: an .npz with an array for each input, and `labels` if there are any.",
)
@click.option(
    "--labels",
    "labelled",
    is_flag=True,
    help="Judge by true labels, not by the large model: photos are named …_LABEL, or the .npz has `labels`.",
)
@click.option(
    "--frames",
    type=click.IntRange(0, 1_000_000),
    default=0,
    help="How many to calibrate with; more than there are photos cuts crops out of them. Default: all there are.",
)
@click.option(
    "--escalate", metavar="CODEC", help="Codec of the input that crosses. Default: the cheapest that fits."
)
@click.option("--audit-share", type=click.FloatRange(0, 1), default=0.05, show_default=True)
@click.option("--audit-window", type=click.IntRange(8, 100_000), default=400, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of dealing frames and cutting crops.")
@click.option("--name", default="cascade", show_default=True, help="Name of the cascade.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("cascade.yaml"),
    show_default=True,
    help="File to write; deployments of the stages' models go beside it.",
)
@json_option
@store_option
def calibrate(
    stages: tuple[str, ...],
    alpha: float,
    delta: float,
    score: ScoreKind,
    photos: Path | None,
    inputs: Path | None,
    labelled: bool,
    frames: int,
    escalate: str | None,
    audit_share: float,
    audit_window: int,
    seed: int,
    name: str,
    out: Path,
    as_json: bool,
    store: Path,
) -> None:
    """Find thresholds at which early answers can be trusted, and certify them.

    Runs all stages on the frames, as serving would; fits temperatures and chooses the codec on a quarter of them,
    and certifies each exit on others: with probability 1 - delta, at most alpha of the answers given there differ
    from the large model's (with --labels: from the true ones). Writes the cascade and a deployment for each stage.
    """
    # Deferred so that `--help` is quick.
    from tercet.cascade.document import AuditTerms
    from tercet_cloud.cascade.calibrate_command import CalibrateOptions
    from tercet_cloud.cascade.calibrate_command import calibrate as calibrate_cascade
    from tercet_cloud.cascade.calibration_frames import FrameOptions
    from tercet_cloud.cascade.report import calibration_facts, print_calibration

    options = CalibrateOptions(
        stages=stages,
        alpha=alpha,
        delta=delta,
        score=score,
        frames=FrameOptions(photos, inputs, labelled, frames, seed),
        escalate=escalate,
        audit=AuditTerms(share=audit_share, window=audit_window),
        name=name,
        out=out,
        store=store,
    )
    with Console(stderr=True).status("calibrating") as status:
        found = calibrate_cascade(options, lambda what: status.update(f"calibrating: {what}"))
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(json.dumps(calibration_facts(found, out), indent=2, ensure_ascii=False))
    else:
        print_calibration(found, out, Console())


@cascade.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the cascade in FILE: stages, thresholds, and what their certificates promise."""
    from tercet.cascade.document import read_cascade
    from tercet_cloud.cascade.report import cascade_facts, print_cascade

    document = read_cascade(file)
    if as_json:
        click.echo(json.dumps(cascade_facts(document), indent=2, ensure_ascii=False))
    else:
        print_cascade(document, Console())
