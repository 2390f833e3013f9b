"""Settings of `tercet cloud run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from tercet.identifiers import NodeId, NodeName
from tercet.logs import LogFormat
from tercet.models.store import DEFAULT_STORE
from tercet.settings import ProcessSettings
from tercet.state_folder import default_state
from tercet_cloud.database_url import DatabaseUrl, sqlite_url

Port = Annotated[int, Field(ge=0, le=65535)]


class CloudSettings(ProcessSettings):
    """Everything a cloud node can be told; a port of 0 means: choose a free one."""

    model_config = SettingsConfigDict(env_prefix="TERCET_CLOUD_")

    deployment: Annotated[tuple[Path, ...], Field(min_length=1)]
    """A deployment.yaml to serve: a cut model with its plans. May be repeated."""
    store: Path = DEFAULT_STORE
    """Directory of models and segments. With several machines, the same path on each of them."""
    node: NodeName = NodeId("cloud")
    """Name of this node, as it appears in routes and logs."""

    host: str = "127.0.0.1"
    """Address the gRPC and HTTP front ends listen on; 0.0.0.0 for every interface."""
    port: Port = 9000
    """gRPC port that edges connect to."""
    http_port: Port = 0
    """Port of Ray Serve's HTTP front end, which answers with what is served."""
    health_host: str = "127.0.0.1"
    """Address that /livez and /readyz listen on."""
    health_port: Port = 0
    """Port of /livez and /readyz."""

    state: Path | None = None
    """Folder of what this node keeps over restarts; left out, .tercet/state/NODE."""
    results: Annotated[str, Field(repr=False)] = ""
    """Database of the results of durable frames: sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE.
    Left out, results.db in --state. Give a URL with a password by the variable, which nobody sees in `ps`."""
    results_max_age_days: Annotated[float, Field(ge=0, le=36_500)] = 0
    """Days after which results are given up, oldest first; 0 keeps all. Their keys are kept, so that none is stored
    twice."""
    max_durable: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Durable frames that may be under way per replica; more are refused until later."""

    ray_address: str = ""
    """Join the Ray cluster at HOST:PORT, made by `RAY_SERVE_ENABLE_HA_PROXY=1 ray start`, instead of starting one.
    A Serve that runs there already keeps the ports it has."""
    replicas: Annotated[int, Field(ge=1, le=1024)] = 1
    """Ray actors that hold the models and share the requests."""
    replica_cpus: Annotated[float, Field(ge=0)] = 0
    """Processors that Ray reserves per replica; 0 reserves none, for small machines."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """ONNX Runtime threads per run."""
    providers: Annotated[tuple[str, ...], Field(min_length=1)] = ("CPUExecutionProvider",)
    """ONNX Runtime execution provider, in order of preference. May be repeated."""

    max_batch_size: Annotated[int, Field(ge=1, le=1024)] = 8
    """Frames that may share one run of a segment."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    """How long a batch waits for more frames, in milliseconds; 0 takes what is queued."""
    max_queued: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Requests that may wait per replica; more are refused with RESOURCE_EXHAUSTED."""

    start_timeout_s: Annotated[float, Field(gt=0)] = 120
    """Seconds within which the cloud must be ready, or it gives up and says why."""
    drain_s: Annotated[float, Field(ge=0)] = 10
    """Seconds that requests under way may take after SIGTERM or Ctrl-C."""
    supervise: bool = False
    """Run as a child of a small process that starts it again, with back-off, whenever it crashes."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: LogFormat = "text"
    """Readable lines, or one JSON object per event."""

    @property
    def state_folder(self) -> Path:
        return self.state or default_state(self.node)

    @property
    def results_url(self) -> DatabaseUrl:
        """SettingsError if --results is not the URL of a database."""
        return DatabaseUrl.parse(self.results or sqlite_url(self.state_folder / "results.db"), "--results")
