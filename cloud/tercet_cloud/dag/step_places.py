"""How a worker runs what is no function of its own process: models, and steps of other tiers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

from tercet.errors import LinkDownError
from tercet.identifiers import NodeId
from tercet.inference.whole_model import WholeModel
from tercet.links.broker_url import BrokerUrl
from tercet.models.store import Store
from tercet.steps.step_message import StepRequest, open_result
from tercet.steps.step_port import port_node
from tercet.wire.topics import any_step_topic, step_topic
from tercet_cloud.dag.call import Call, Circumstances, idempotency_key
from tercet_cloud.dag.graph import CLOUD
from tercet_cloud.dag.model_content import model_content, model_name
from tercet_cloud.dag.split_model import DEFAULT_S, SplitModel, cloud_stub
from tercet_cloud.dag.tier_link import TierLink

# Models that a worker holds at a time.
_HELD_MODELS = 8


class StepPlaces:
    """The models and connections of one worker, made when they are first needed and held. Thread-safe.

    A model that is replaced in its store is opened anew.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[Hashable, ...], Any] = {}
        self._making = threading.Lock()

    def close(self) -> None:
        """Disconnect from other tiers."""
        for held in self._held.values():
            if isinstance(held, TierLink):
                held.close()
        self._held.clear()

    def give_up(self, name: str) -> None:
        """End the wait of the try of that name for another tier's answer, if it waits for one."""
        for held in list(self._held.values()):
            if isinstance(held, TierLink):
                held.give_up(name)

    def run(self, call: Call, arguments: Mapping[str, Any], circumstances: Circumstances) -> Any:
        """The result of a model node, or of any node on another tier. LinkDownError if that cannot be reached."""
        if call.deployment is not None:
            return self._split(call, arguments, circumstances)
        if call.place == CLOUD:
            name = model_name(call)
            model = self._kept(
                ("whole", call.means.store, name, model_content(call)),
                lambda: _open_whole(call.means.store, name, call.means.threads),
            )
            return model.run(arguments)
        return self._step(call, arguments, circumstances)

    def _split(self, call: Call, arguments: Mapping[str, Any], circumstances: Circumstances) -> Any:
        key = ("split", call.deployment, call.plan, model_content(call))
        model: SplitModel = self._kept(key, lambda: SplitModel(call))
        if call.place != CLOUD:
            return model.by_edge(self._link(call), arguments, circumstances)
        address = call.means.cloud
        if address is None:
            raise LinkDownError("no cloud is named that serves the deployment: give --cloud HOST:PORT")
        stub = self._kept(("cloud", address), lambda: cloud_stub(address))
        return model.by_cloud(stub, arguments, circumstances.time_left_s)

    def _step(self, call: Call, arguments: Mapping[str, Any], circumstances: Circumstances) -> Any:
        timeout_s = DEFAULT_S if circumstances.time_left_s is None else circumstances.time_left_s
        until_s = time.monotonic() + timeout_s
        link = self._link(call)
        _, _, name = call.place.partition(":")
        topic = any_step_topic(link.fleet, link.node)
        if name:
            link.require_present(port_node(NodeId(name)), timeout_s)
            topic = step_topic(link.fleet, NodeId(name))
        request = StepRequest(
            call.kind,
            call.target,
            {**call.options, **arguments},
            {
                "idempotency_key": idempotency_key(circumstances.run, call.node, circumstances.item),
                "attempt": circumstances.attempt,
                "time_left_s": circumstances.time_left_s,
            },
        )
        sealed = request.seal()
        left_s = max(0.0, until_s - time.monotonic())
        return open_result(link.ask(topic, sealed, link.step_answers, left_s, circumstances.name))

    def _link(self, call: Call) -> TierLink:
        broker = call.means.broker
        if broker is None:
            raise LinkDownError(f"no broker is named by which {call.place} is reached: give --broker-url")
        link: TierLink = self._kept(
            ("link", broker, call.means.fleet), lambda: TierLink(BrokerUrl.parse(broker), call.means.fleet)
        )
        return link

    def _kept(self, key: tuple[Hashable, ...], make: Callable[[], Any]) -> Any:
        with self._making:
            if key not in self._held:
                models = [held for held in self._held if held[0] in ("whole", "split")]
                if len(models) >= _HELD_MODELS:
                    del self._held[models[0]]
                self._held[key] = make()
            return self._held[key]


def _open_whole(store: Path, name: str, threads: int) -> WholeModel:
    held = Store(store)
    return WholeModel(held.model_bytes(held.card(name)), threads=threads)
