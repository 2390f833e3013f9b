"""Settings of an edge node: flags, TERCET_EDGE_… variables, or a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from tercet.durable.journal_settings import JournalSettings
from tercet.identifiers import Name, NodeId, NodeName
from tercet.limits import MAX_CALL_FRAMES
from tercet.logs import LogFormat
from tercet.models.store import DEFAULT_STORE
from tercet_edge.batch_queue import OverloadPolicy


class EdgeSettings(JournalSettings):
    """See each field."""

    model_config = SettingsConfigDict(env_prefix="TERCET_EDGE_")

    node: NodeName = NodeId("edge-1")
    """Name of this edge, unique in its fleet."""
    fleet: Name = "default"
    """Fleet whose devices this edge serves."""
    broker_url: str | None = None
    """External MQTT 5 broker, mqtt://HOST:PORT. Without it the edge starts an embedded one."""
    mqtt_host: str = "127.0.0.1"
    """Address the embedded broker listens on; 0.0.0.0 to let devices on the network in."""
    mqtt_port: Annotated[int, Field(ge=0, le=65535)] = 1883
    """Port of the embedded broker; 0 chooses one."""
    cloud_address: tuple[str, ...] = ("127.0.0.1:9000",)
    """A cloud's gRPC address, HOST:PORT; repeat it for several equal clouds; "none" for an edge that has none."""
    max_call_frames: Annotated[int, Field(ge=1, le=MAX_CALL_FRAMES)] = 16
    """Frames that share a call to the cloud, if they wait while calls are under way; 1: a call each."""
    max_calls: Annotated[int, Field(ge=1, le=1024)] = 4
    """Calls under way to one cloud address, before frames wait to share the next."""
    store: Path = DEFAULT_STORE
    """Folder with models and segments."""
    deployment: Annotated[tuple[Path, ...], Field(min_length=1)]
    """deployment.yaml of a model to serve; may be repeated."""
    cascade: tuple[Path, ...] = ()
    """cascade.yaml that frames may be of, as their devices have it; may be repeated. The models of its stages on
    the edge and beyond need their --deployment as well."""
    fallback: bool = True
    """Answer with the edge's own copy of the later segments when the cloud cannot; marked degraded."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads that compute segments."""
    max_batch: Annotated[int, Field(ge=1, le=256)] = 16
    """Frames of one model and shape that are computed in one run; 1: each alone."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=100)] = 2.0
    """Longest a frame waits for company, while others come that fast; lone frames never wait."""
    overload_policy: OverloadPolicy = "refuse-newest"
    """Which frame is refused when the queue is full: refuse-newest, or drop-oldest (never a durable one)."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """ONNX Runtime threads per run."""
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    """ONNX Runtime execution providers, best first."""
    emulated_slowdown: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """Emulation: compute and code as a machine so many times slower would, by sleeping; answers say so."""
    max_queued: Annotated[int, Field(ge=1)] = 256
    """Frames taken in at once; more are refused with "overloaded", never dropped."""
    max_queued_mb: Annotated[int, Field(ge=65)] = 256
    """Megabytes (2^20 bytes) of frames taken in at once."""
    journal_max_mb: Annotated[int, Field(ge=1, le=1 << 20)] = 1024
    """Megabytes (2^20 bytes) of durable frames kept here."""
    uplink_timeout_ms: Annotated[int, Field(ge=1, le=600_000)] = 4000
    """Longest wait for the cloud; less where a frame's deadline is nearer."""
    profile: bool = False
    """Measure the deployed models before serving and publish the profiles, for `tercet profiles`. All segments must
    be in the store."""
    profile_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """How long to measure a model."""
    profile_shape: tuple[str, ...] = ()
    """Sizes of an input that leaves some open, INPUT=1x3x48x320; may be repeated."""
    health_host: str = "127.0.0.1"
    """Address of /livez and /readyz."""
    health_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of /livez and /readyz; 0 chooses one."""
    drain_s: Annotated[float, Field(ge=0)] = 5.0
    """How long frames under way may take to finish on shutdown."""
    supervise: bool = False
    """Run as a child of a small process that starts it again, with back-off, whenever it crashes."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: LogFormat = "text"
    """Logs for people or for machines."""

    @field_validator("cloud_address")
    @classmethod
    def _check_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        if addresses == ("none",):
            return ()
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{address!r} is not HOST:PORT")
        if not addresses or len(set(addresses)) != len(addresses):
            raise ValueError('name each cloud once, or "none"')
        return addresses
