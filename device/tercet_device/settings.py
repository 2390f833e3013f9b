"""Settings of a device agent: flags, TERCET_DEVICE_… variables, or a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from tercet.durable.journal_settings import JournalSettings
from tercet.identifiers import Name, NodeName
from tercet.logs import LogFormat
from tercet.models.store import DEFAULT_STORE


class DeviceSettings(JournalSettings):
    """See each field."""

    model_config = SettingsConfigDict(env_prefix="TERCET_DEVICE_")

    node: NodeName
    """Name of this device, unique in its fleet."""
    fleet: Name = "default"
    """Fleet this device belongs to."""
    broker_url: Annotated[tuple[str, ...], Field(min_length=1)] = ("mqtt://127.0.0.1:1883",)
    """The edge's broker, mqtt://HOST:PORT or mqtts://USER:PASSWORD@HOST:PORT; repeat for more edges."""
    store: Path = DEFAULT_STORE
    """Folder with models and segments."""
    deployment: Path
    """deployment.yaml: the cut model and its plans, as `tercet models slice` writes it."""
    cascade: Path | None = None
    """cascade.yaml: answer what the first stage is sure of, send the rest on. `--deployment` is that of the first
    stage's model."""
    plan: tuple[str, ...] = ()
    """Plan to use; may be repeated, then every photo is sent once by each. Default: the best for each frame among
    those with predictions, else the first."""
    source: tuple[Path, ...] = ()
    """Photo, or folder of photos, to run; may be repeated. Without one the agent only stays connected."""
    delivery: Literal["realtime", "durable"] = "realtime"
    """realtime: each frame is answered by its deadline. durable: each is kept on disk here until an edge has it on
    its own, and its result is stored in the cloud, however long that takes."""
    until_delivered: bool = True
    """With --delivery durable: when all photos are recorded, stay until an edge has every frame."""
    frames: Annotated[int, Field(ge=0)] = 0
    """Stop after so many frames, going round the photos as often as needed; 0: each photo once."""
    rate_hz: Annotated[float, Field(ge=0)] = 0
    """Frames per second; 0: as fast as they are answered."""
    window: Annotated[int, Field(ge=1, le=1024)] = 1
    """Frames that may be under way at once."""
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] = 5000
    """A frame not answered by then is answered by the device itself, or counted as lost."""
    fallback: bool = True
    """Answer with the device's own copy of the later segments when the edge cannot; marked degraded."""
    replan_ratio: Annotated[float, Field(gt=1, le=100)] = 2.0
    """Predictions are renewed when frames take this many times longer, or shorter, than predicted."""
    replan_window: Annotated[int, Field(ge=1, le=100_000)] = 30
    """Over so many frames."""
    replan_every_s: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """Another plan table is asked for when predictions had to be renewed, at most so often."""
    replan_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """How long an edge may take to answer that."""
    results: Path | None = None
    """Write one JSON line per frame to this file; those of durable frames are added to what it holds."""
    outputs: Path | None = None
    """Write the raw outputs of all frames to this .npz file, keyed by sequence number."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """ONNX Runtime threads per run."""
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    """ONNX Runtime execution providers, best first."""
    emulated_slowdown: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """Emulation: compute and code as a machine so many times slower would, by sleeping; answers say so."""
    profile: bool = False
    """Measure the deployed model before serving and publish the profile, for `tercet profiles`. All segments must
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
