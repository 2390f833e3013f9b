"""`tercet pipeline watch`: hear of changed keys over the broker, and run what the rules say."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tercet.errors import SettingsError
from tercet.identifiers import NodeId
from tercet.links.events import hear_events
from tercet.process import Shutdown, run_service, until_shutdown
from tercet_cloud.dag.events.bus import EventBus
from tercet_cloud.dag.events.rules import Rules
from tercet_cloud.dag.events.runner import EventRunner, Reaction
from tercet_cloud.dag.events.telling import Teller
from tercet_cloud.dag.session import PipelineSession, SessionOptions
from tercet_cloud.dag.spec import Pipeline

log = logging.getLogger(__name__)


def watch_rules(options: SessionOptions, rules: Rules, pipelines: Mapping[Path, Pipeline]) -> int:
    """Until Ctrl-C or SIGTERM; returns the exit status. SettingsError without a broker."""
    teller = Teller.of(options.means)
    if teller is None:
        raise SettingsError("events come over a broker: give --broker-url")
    node = NodeId(f"watch-{secrets.token_hex(6)}")
    with PipelineSession(replace(options, adopts=True)) as session:

        async def main(shutdown: Shutdown) -> int:
            bus = EventBus()
            async with EventRunner(session, bus, rules, pipelines, _log, teller.tell).running():
                log.info("watching", extra={"broker": str(teller.broker), "rules": len(rules.rules)})
                await until_shutdown(shutdown, hear_events(teller.broker, teller.fleet, node, bus.publish))
            return os.EX_OK

        return run_service(main)


def _log(reaction: Reaction) -> None:
    facts: dict[str, object] = {"key": reaction.event.key, "latency_ms": round(reaction.latency_s * 1000)}
    if reaction.run is not None:
        facts.update(run=reaction.run.run, state=reaction.run.state.value)
    log.info("reacted", extra=facts)
