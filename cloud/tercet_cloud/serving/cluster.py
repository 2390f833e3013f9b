"""Ray and Ray Serve for one `tercet cloud run`: environment, start, drain, stop.

The only module that writes `os.environ`: Ray and HAProxy are configured by variables that are read when Ray
is imported, so `prepare_environment` comes before any import of Ray. Variables that are already set win.

What listens where, with Ray 2.60 on one machine: the gRPC and HTTP front ends listen on the address asked
for, Ray's own daemons on 127.0.0.1. Five things listen on every interface and cannot be told otherwise:
HAProxy's statistics and metrics pages, the gRPC server of Serve's fallback proxy, and in each replica the
gRPC server behind HAProxy and the one between Serve's actors. None of them asks who calls: keep a firewall
before a machine that has untrusted neighbours.

On a cluster made by `ray start`, its processes have the environment `ray start` had. Set at least
RAY_SERVE_ENABLE_HA_PROXY=1 there, and RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=1 for quick shutdowns.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from tercet.errors import LinkDownError, PortBusyError, SettingsError, UnavailableError
from tercet.limits import MAX_FRAME_BYTES, MIB
from tercet.plans import Deployment
from tercet_cloud.error_lines import last_line
from tercet_cloud.serving.orphan_guard import MARKER
from tercet_cloud.serving.ray_daemons import RayDaemons
from tercet_cloud.serving.settings import CloudSettings

log = logging.getLogger(__name__)

APPLICATION = "tercet"
SERVICER = "tercet.v1.inference_pb2_grpc.add_InferenceServicer_to_server"
# Replicas keep answering for this long after HAProxy was told to forget them.
_FORGET_S = 0.5
_CONNECT_TIMEOUT_S = 5.0
_OBJECT_STORE_BYTES = 100 * MIB


@dataclass(frozen=True)
class FrontEnd:
    """Where the cloud listens."""

    host: str
    grpc_port: int
    http_port: int


def choose_port(host: str, port: int, option: str) -> int:
    """`port` if it is free on `host`, any free one for 0; PortBusyError if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortBusyError(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another {option}, or 0 for a free one"
            ) from error
        return int(probe.getsockname()[1])


def check_ray_address(address: str) -> None:
    """LinkDownError unless something listens at HOST:PORT; Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(f"--ray-address {address!r} is not HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise LinkDownError(
            f"no Ray cluster at {address} ({error}); start one with `ray start --head`, or leave out --ray-address"
        ) from error


def free_port_block(size: int) -> int:
    """First of `size` consecutive ports below the ephemeral range that were free a moment ago."""
    for _ in range(100):
        first = random.randrange(12_000, 31_000 - size)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + size):
                probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                probe.bind(("", port))
            return first
    raise PortBusyError(f"found no {size} free ports in a row between 12000 and 31000 for Ray Serve's own use")


def block_size(replicas: int) -> int:
    """How many ports in a row `ray_environment` gives away."""
    return 4 + 2 * (_replica_ports(replicas) + 1)


def _replica_ports(replicas: int) -> int:
    # Serve gives a port to nobody for 150 s after its replica has gone, and another deployment, which replaces all
    # replicas, is rolled out in 3 s at best. And some that others may have taken.
    return min(52 * replicas, 4000) + 8


def ray_environment(scratch: Path, first_port: int, replicas: int) -> dict[str, str]:
    """Variables for a Ray of our own, all of whose files lie in `scratch` and ports from `first_port` on."""
    span = _replica_ports(replicas)
    http_first, grpc_first = first_port + 4, first_port + 5 + span
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Keeps Ray's own daemons on the loopback address; the name is historical.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        # The replica computes in an executor of its own: Serve need not keep user code off its loop.
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
        # Far larger frames are cut off by gRPC; those a little over the limit get an answer that names it.
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(MAX_FRAME_BYTES + MIB),
        # A HAProxy that died is noticed after three of them.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(scratch / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(scratch / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(scratch / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(scratch),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(scratch / "server-state"),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(first_port),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(first_port + 1),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(first_port + 2),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(first_port + 3),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http_first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http_first + span),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc_first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc_first + span),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(_FORGET_S),
    }


def prepare_environment(scratch: Path | None, replicas: int) -> None:
    """Set what Ray and HAProxy read; `scratch` is None when a cluster is joined, whose processes have their own.

    Must come before the first import of Ray in this process: for a Ray of our own SettingsError if it is too late.
    """
    if scratch is None:
        for name in ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_LOG_TO_STDERR"):
            os.environ.setdefault(name, "1" if name.endswith("PROXY") else "0")
        return
    if "ray" in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        raise SettingsError(
            "Ray was imported before it could be told to ask for a token: begin with Tercet and import ray after "
            "that, set RAY_AUTH_MODE=token before, or join a cluster with --ray-address"
        )
    for name, value in ray_environment(scratch, free_port_block(block_size(replicas)), replicas).items():
        os.environ.setdefault(name, value)
    # Not a default: the guard knows our descendants by it.
    os.environ[MARKER] = str(scratch)


class ServeCluster:
    """Ray, Serve and our application. Call `start` and `stop` from one thread that lives until `stop` returned.

    Ray's daemons end with the thread that started them. `stop` is safe whatever became of `start`.

    Args:
        scratch: folder for a Ray of our own; None joins the cluster at `settings.ray_address`.
    """

    def __init__(self, settings: CloudSettings, front: FrontEnd, scratch: Path | None) -> None:
        self._settings, self._front, self._scratch = settings, front, scratch
        self._owns_serve = True
        self._daemons: RayDaemons | None = None

    def start(self, deployments: Sequence[Deployment]) -> None:
        """Start or join Ray, then run the application; blocks until every replica is ready.

        Raises UnavailableError or LinkDownError with Ray's reason.
        """
        # Ray adds fields to the records of every logger.
        record_factory = logging.getLogRecordFactory()
        from ray import serve
        from ray.serve.config import HTTPOptions, gRPCOptions

        logging.setLogRecordFactory(record_factory)
        # Ray tells everything in a format of its own; we say what matters.
        for name in ("ray", "ray.serve"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._start_ray()
        with _reason(UnavailableError, "Ray Serve did not start"):
            serve.start(
                http_options=HTTPOptions(host=self._front.host, port=self._front.http_port),
                grpc_options=gRPCOptions(port=self._front.grpc_port, grpc_servicer_functions=[SERVICER]),
            )
        self._roll_out(deployments, "the replicas did not start")

    def redeploy(self, deployments: Sequence[Deployment]) -> None:
        """Replace every replica by one that serves `deployments`, each before its predecessor leaves; blocks.

        Raises UnavailableError with Ray's reason if new ones do not come up; the old ones that are left go on.
        """
        self._roll_out(deployments, "the new replicas did not start")

    def dead_daemon(self) -> str | None:
        """Which of the daemons of our own Ray has died, if one has. From any thread."""
        return None if self._daemons is None else self._daemons.dead()

    def stop(self) -> None:
        """Let replicas finish what is under way (bounded by drain_s), then leave; end what `start` started.

        On a cluster where Serve ran before us, Serve stays: others may use it.
        """
        import ray
        from ray import serve

        if not ray.is_initialized():
            return
        try:
            # Serve's own shutdown ends HAProxy before the replicas have drained, so the application goes first.
            serve.delete(APPLICATION)
            if self._owns_serve:
                serve.shutdown()
        except Exception as error:
            log.warning("Ray Serve did not stop cleanly", extra={"reason": last_line(error)})
        finally:
            ray.shutdown()

    def _roll_out(self, deployments: Sequence[Deployment], what: str) -> None:
        from ray import serve

        from tercet_cloud.serving.deployment import application

        try:
            serve.run(application(self._settings, deployments), name=APPLICATION, route_prefix="/")
        except Exception as error:
            raise UnavailableError(f"{what}: {_why_not_started(error)}") from error

    def _start_ray(self) -> None:
        import ray

        common = {"log_to_driver": False, "configure_logging": False}
        if self._scratch is None:
            address = self._settings.ray_address
            with _reason(LinkDownError, f"cannot join the Ray cluster at {address}"):
                ray.init(address=address, **common)
                self._owns_serve = not _serve_runs()
            _warn_without_haproxy()
            return
        with _reason(UnavailableError, "Ray did not start on this machine"):
            ray.init(
                include_dashboard=False,
                # One more while a replica is replaced by that of another deployment.
                num_cpus=max(1, ceil((self._settings.replicas + 1) * self._settings.replica_cpus)),
                object_store_memory=_OBJECT_STORE_BYTES,
                _temp_dir=str(self._scratch),
                **common,
            )
        self._daemons = RayDaemons()


def _serve_runs() -> bool:
    """Whether somebody runs Serve on the cluster that was joined."""
    import ray

    try:
        ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
    except ValueError:
        return False
    return True


def _warn_without_haproxy() -> None:
    import ray

    @ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
    def haproxy_enabled() -> bool:
        return os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"

    if not ray.get(haproxy_enabled.remote(), timeout=30):
        log.warning("the cluster runs without HAProxy: set RAY_SERVE_ENABLE_HA_PROXY=1 at `ray start`")


@contextlib.contextmanager
def _reason(kind: type[UnavailableError], what: str) -> Iterator[None]:
    """Turn whatever Ray raises into one line."""
    try:
        yield
    except Exception as error:
        raise kind(f"{what}: {last_line(error)}") from error


def _why_not_started(error: Exception) -> str:
    """Serve's own error only says that it gave up."""
    from ray import serve

    with contextlib.suppress(Exception):
        for deployment in serve.status().applications[APPLICATION].deployments.values():
            if deployment.message:
                return last_line(RuntimeError(deployment.message))
    return last_line(error)
