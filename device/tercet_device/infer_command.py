"""`tercet infer`: one-off frames through a running stack, as an ordinary device of it."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

import click

from tercet.emulated_pace import EmulatedPace
from tercet.error_codes import codes_of
from tercet.errors import SpecError
from tercet.frame_record import FrameRecord, VerdictRecord
from tercet.identifiers import NodeId
from tercet.stack_file import DEFAULT_STACK_FILE, StackFile

CONNECT_TIMEOUT_S = 10.0


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--plan", help="Plan to use. Default: the deployment's first.")
@click.option(
    "--stack",
    type=click.Path(path_type=Path),
    default=DEFAULT_STACK_FILE,
    show_default=True,
    help="stack.json of a running stack, as `tercet demo --keep` writes it.",
)
@click.option("--deadline-ms", type=click.IntRange(1, 600_000), default=5000, show_default=True)
@click.option("--fallback/--no-fallback", default=True, help="Answer here if the edge cannot (degraded).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def infer(
    images: tuple[Path, ...], plan: str | None, stack: Path, deadline_ms: int, fallback: bool, as_json: bool
) -> int:
    """Classify photos with a running stack: label, confidence, route and time in each tier.

    Runs the first segments here, like any device. Exit status 0 if every image was answered.
    """
    return asyncio.run(_infer(StackFile.read(stack), images, plan, deadline_ms, fallback, as_json))


async def _infer(
    stack: StackFile, images: tuple[Path, ...], plan: str | None, deadline_ms: int, fallback: bool, as_json: bool
) -> int:
    # Deferred so that `--help` does not load ONNX Runtime.
    from tercet.links.broker_url import BrokerUrl
    from tercet.links.mqtt import check_broker
    from tercet.models.store import Store
    from tercet.plans import read_deployment
    from tercet_device.generation import choose_plans, make_agent, make_shooter, open_model
    from tercet_device.photo_source import Shot

    if stack.cascade and plan:
        raise SpecError("this stack runs a cascade, whose stages name their plans: leave out --plan")
    broker = BrokerUrl.parse(stack.broker_url)
    await check_broker(broker)
    model = open_model(read_deployment(stack.deployment), stack.store, slowdown=stack.device_slowdown)
    chosen = None if stack.cascade else choose_plans(model, (plan,) if plan else ())[0]
    agent = make_agent(
        NodeId(f"infer-{secrets.token_hex(4)}"),
        stack.fleet,
        model,
        stack.cascade,
        Store(stack.store),
        deadline_s=deadline_ms / 1000,
        fallback=fallback,
    )
    status = os.EX_OK
    async with agent.connected(broker):
        await agent.wait_online(CONNECT_TIMEOUT_S)
        shooter = make_shooter(agent, Store(stack.store))
        for number, image in enumerate(images, 1):
            result = await shooter.shoot(Shot(image, chosen), number)
            click.echo(result.record.model_dump_json() if as_json else describe(result.record))
            if result.failure:
                status = codes_of(result.failure).exit_status
    return status


def _describe_verdict(verdict: VerdictRecord) -> str:
    threshold = "closed" if verdict.threshold is None else f"{verdict.threshold:.3g}"
    sure = verdict.threshold is not None and verdict.score >= verdict.threshold
    if verdict.exited:
        outcome = "exits" if sure else "answers for want of a better"
    else:
        outcome = "goes on to be checked" if verdict.audited else "goes on"
    return f"stage {verdict.stage}: score {verdict.score:.3g} of {threshold}, {outcome}"


def describe(record: FrameRecord) -> str:
    """A few lines for people."""
    if record.error:
        return f"{record.source}: {record.error_kind}: {record.error}"
    answer = f"{record.label} ({record.confidence:.1%})" if record.label else "answered"
    lines = [
        f"{record.source}: {answer}  {record.latency_ms:.1f} ms, plan {record.plan}",
        f"    route  {record.route}" + (f": {record.reason}" if record.reason else ""),
    ]
    for visit in record.visits:
        own_ms = visit.total_ms - visit.beyond_ms
        received = f", received {visit.received_bytes:,} bytes" if visit.received_bytes else ""
        emulated = EmulatedPace(visit.emulated_slowdown).note
        lines.append(
            f"    {visit.tier:<6} {own_ms:7.2f} ms here (compute {visit.compute_ms:.2f}){received}  [{visit.node}]"
            + (f"  {emulated}" if emulated else "")
            + (f"  {_describe_verdict(visit.verdict)}" if visit.verdict else "")
        )
    return "\n".join(lines)
