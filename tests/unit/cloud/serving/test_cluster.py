from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tercet.errors import PortBusyError
from tercet_cloud.serving.cluster import block_size, choose_port, free_port_block, ray_environment


def test_a_free_port_is_chosen_for_zero_and_kept_otherwise() -> None:
    port = choose_port("127.0.0.1", 0, "--port")
    assert port > 0
    assert choose_port("127.0.0.1", port, "--port") == port


def test_a_busy_port_is_named_with_the_option_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortBusyError, match=f"127.0.0.1:{port} .*--http-port"):
            choose_port("127.0.0.1", port, "--http-port")


def test_every_helper_port_is_its_own_and_every_file_is_in_the_scratch_folder() -> None:
    first = free_port_block(block_size(3))
    environment = ray_environment(Path("/scratch"), first, replicas=3)
    ports = [int(value) for name, value in environment.items() if name.endswith("_PORT")]
    assert len(set(ports)) == len(ports)
    assert first <= min(ports) < max(ports) < first + block_size(3)
    for protocol in ("HTTP", "GRPC"):
        low, high = (int(environment[f"RAY_SERVE_DIRECT_INGRESS_{end}_{protocol}_PORT"]) for end in ("MIN", "MAX"))
        # All three are replaced every 3 s, and no port comes back within 150 s.
        assert high - low >= 3 * (1 + 150 // 3)
    assert {Path(value).parts[:2] for value in environment.values() if "/" in value} == {("/", "scratch")}


def test_where_ray_was_imported_too_early_that_is_said_instead_of_waiting_for_it_in_vain() -> None:
    program = (
        "import sys, ray\n"
        "from pathlib import Path\n"
        "from tercet_cloud.serving.cluster import prepare_environment\n"
        "prepare_environment(Path('/scratch'), 1)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert "SettingsError: Ray was imported before" in ran.stderr
