"""A cascade for people and machines: its stages, thresholds and certificates; how it did on calibration frames."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tercet.cascade.document import Cascade, CascadeStage
from tercet_cloud.cascade.calibrate_command import Calibration


def print_cascade(cascade: Cascade, console: Console, title: str | None = None) -> None:
    """The document as a table, with what the certificates promise in words."""
    scores = {stage.exit.score for stage in cascade.stages if stage.exit}
    table = Table(
        title=title or f"cascade {cascade.ref}",
        caption=f"score: {' or '.join(sorted(scores))}",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("stage", no_wrap=True)
    table.add_column("model", overflow="fold")
    for heading in ("exits at", "tested", "exits", "risk", "at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, stage in enumerate(cascade.stages):
        name = stage.model.partition("@")[0]
        table.add_row(f"{number} {stage.tier}", name, _when(stage), *_counts(stage))
    console.print(table)
    for line in promises(cascade):
        console.print(line, soft_wrap=True, highlight=False)


def print_calibration(found: Calibration, out: Path, console: Console) -> None:
    """The codec, the cascade, and what it did."""
    if len(found.codecs) > 1:
        table = Table(
            box=SIMPLE_HEAD, title=f"what the input costs to send ({found.chosen.frames} frames of the pilot)"
        )
        for heading in ("codec", "bytes a frame", "large model says something else"):
            table.add_column(heading, justify="left" if heading == "codec" else "right")
        for row in found.codecs:
            mark = " ←" if row is found.chosen else ""
            table.add_row(f"{row.codec}{mark}", f"{row.bytes_per_frame:,.0f}", f"{row.changed:.1%}")
        console.print(table)
    print_cascade(found.cascade, console, f"cascade {found.cascade.ref}, {found.frames}")
    shares = ", ".join(
        f"{share:.1%} by {stage.model.partition('@')[0]}"
        for share, stage in zip(found.exits.shares, found.cascade.stages, strict=True)
    )
    judge = "true labels" if agreed_with(found.cascade) == "labels" else "large model"
    console.print(
        f"Tested frames answered: {shares}; {found.exits.agreement:.1%} as the {judge} would.\n"
        f"Escalation by {found.chosen.codec}: {found.chosen.bytes_per_frame:,.0f} bytes a frame; the large model "
        f"changed {found.chosen.changed:.1%} of its answers on {found.chosen.frames} frames (measured, not "
        "certified).",
        soft_wrap=True,
        highlight=False,
    )
    written = ", ".join(map(str, (out, *found.deployments.values())))
    console.print(f"Written: {written}", style="dim", soft_wrap=True, highlight=False)


def promises(cascade: Cascade) -> list[str]:
    """What the certificates say together, and what watches them."""
    certificates = [stage.certificate for stage in cascade.stages if stage.certificate]
    exits = len(cascade.stages) - 1
    audit = (
        f"Audit: {cascade.audit.share:.1%} of the frames that would exit are escalated to check, the last "
        f"{cascade.audit.window} verdicts count."
    )
    if len(certificates) < exits:
        return [f"{exits - len(certificates)} of {exits} exits have no certificate.", audit]
    alphas = {certificate.alpha for certificate in certificates}
    split = f" ({' + '.join(f'{each.delta:g}' for each in certificates)})" if exits > 1 else ""
    return [
        f"Certified: at every exit at most {max(alphas):.1%} of the answers differ from the "
        f"{'true label' if agreed_with(cascade) == 'labels' else 'large model'}, with confidence "
        f"{1 - cascade.delta:.1%}{' for all exits together; δ is split' if exits > 1 else ''}{split}; for frames "
        "like those calibrated with.",
        audit,
    ]


def agreed_with(cascade: Cascade) -> str:
    return next((stage.certificate.agreed_with for stage in cascade.stages if stage.certificate), "large model")


def cascade_facts(cascade: Cascade) -> dict[str, object]:
    """For JSON: the document and its reference; an infinite threshold is null."""
    return {"ref": cascade.ref, **_json_ready(cascade.model_dump(mode="json"))}


def calibration_facts(found: Calibration, out: Path) -> dict[str, object]:
    return {
        **cascade_facts(found.cascade),
        "calibrated_with": found.frames,
        "warnings": list(found.warnings),
        "shares": list(found.exits.shares),
        "agreement": found.exits.agreement,
        "codecs": [asdict(row) for row in found.codecs],
        "written": [str(out), *map(str, found.deployments.values())],
    }


def _json_ready(value: object) -> dict[str, object]:
    def clean(part: object) -> object:
        if isinstance(part, dict):
            return {key: clean(each) for key, each in part.items()}
        if isinstance(part, list):
            return [clean(each) for each in part]
        return None if isinstance(part, float) and not isfinite(part) else part

    cleaned = clean(value)
    return cleaned if isinstance(cleaned, dict) else {}


def _when(stage: CascadeStage) -> str:
    if stage.exit is None:
        return "always"
    return f"{stage.exit.threshold:.4f}" if isfinite(stage.exit.threshold) else "never"


def _counts(stage: CascadeStage) -> list[str]:
    certificate = stage.certificate
    if certificate is None:
        return [""] * 4
    exits = certificate.exits
    share = f" ({exits / certificate.frames:.1%})" if certificate.frames else ""
    risk = f"{certificate.wrong / exits:.1%}" if exits else "–"
    return [f"{certificate.frames:,}", f"{exits:,}{share}", risk, f"{certificate.bound:.1%}" if exits else "–"]
