"""Telling over the broker what the events of a run hold that is done. Whoever waits for a run does it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.events import publish_events
from tercet_cloud.dag.call import Means


@dataclass(frozen=True)
class Teller:
    """Where events are told."""

    broker: BrokerUrl
    fleet: str

    @classmethod
    def of(cls, means: Means) -> Teller | None:
        """None where no broker is named. SettingsError for what is no URL of one."""
        return None if means.broker is None else cls(BrokerUrl.parse(means.broker), means.fleet)

    async def tell(self, events: Mapping[str, Any]) -> None:
        """Returns when the broker has them, over a connection of their own. LinkDownError if it is not there."""
        await publish_events(self.broker, self.fleet, NodeId(f"pipeline-{secrets.token_hex(6)}"), events)
