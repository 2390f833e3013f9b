"""Probes learn from outside whether the loop turns and work is done, on a port that nobody else has."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import socket
from typing import Any

import pytest

from tercet.errors import PortBusyError
from tercet.health import Health, HealthServer

HOST = "127.0.0.1"


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get_json(port: int, path: str) -> tuple[int, Any]:
    status, body = get(port, path)
    return status, json.loads(body)


def test_ready_only_while_the_process_says_so() -> None:
    health = Health("edge", "gateway-1")
    with HealthServer(health, HOST, 0) as server:
        assert get_json(server.port, "/livez")[0] == 200
        assert get_json(server.port, "/readyz")[0] == 503
        health.ready = True
        health.facts = {"mqtt_port": 1883}
        identity = {"tier": "edge", "node": "gateway-1", "pid": os.getpid(), "mqtt_port": 1883}
        assert get_json(server.port, "/readyz") == (200, {"ok": True, **identity})
        health.ready = False
        assert get_json(server.port, "/readyz") == (503, {"ok": False, **identity})


def test_facts_that_json_does_not_know_are_shown_as_text() -> None:
    health = Health("edge", "gateway-1")
    health.facts = {"store": os, "where": {1, 2}.__class__}
    with HealthServer(health, HOST, 0) as server:
        assert get_json(server.port, "/livez")[1]["where"] == "<class 'set'>"


def test_a_loop_that_stopped_turning_is_seen_and_never_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tercet.health.DEAD_AFTER_S", 0.0)
    health = Health("edge", "gateway-1")
    health.ready = True
    with HealthServer(health, HOST, 0) as server:
        assert get_json(server.port, "/livez")[0] == 503
        assert get_json(server.port, "/readyz")[0] == 503


async def test_a_beat_makes_it_live_again() -> None:
    health = Health("edge", "gateway-1")
    health._last_beat_s -= 3600
    before = health.live
    beating = asyncio.create_task(health.beat())
    await asyncio.sleep(0)  # the beat comes with its first turn
    assert (before, health.live) == (False, True)
    beating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beating


def test_other_paths_say_which_there_are() -> None:
    with HealthServer(Health("edge", "e"), HOST, 0) as server:
        for path in ("/", "/metrics/x", "/livez/..", "/readyz%00"):
            status, body = get(server.port, path)
            assert status == 404
            assert b"there are /livez, /readyz and /metrics" in body


def test_a_busy_port_is_named_with_what_to_do() -> None:
    with HealthServer(Health("edge", "e"), HOST, 0) as server:
        with pytest.raises(PortBusyError, match=rf"{HOST}:{server.port} \(.*\); choose another --health-port or 0"):
            HealthServer(Health("edge", "e"), HOST, server.port)
        assert get(server.port, "/livez")[0] == 200


def test_the_port_is_free_again_afterwards() -> None:
    with HealthServer(Health("edge", "e"), HOST, 0) as server:
        port = server.port
    with HealthServer(Health("edge", "e"), HOST, port):
        assert get(port, "/livez")[0] == 200


def test_clients_that_say_nothing_or_nonsense_or_leave_do_not_disturb(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), HealthServer(Health("edge", "e"), HOST, 0) as server:
        silent = socket.create_connection((HOST, server.port), timeout=5)
        for nonsense in (b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n", b"POST /livez HTTP/1.1\r\n\r\n"):
            with socket.create_connection((HOST, server.port), timeout=5) as client:
                client.sendall(nonsense)
        with socket.create_connection((HOST, server.port), timeout=5) as client:
            # Reset on close: the answer meets a connection that is gone.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert get(server.port, "/livez")[0] == 200
        silent.close()
    assert caplog.records == []
    assert capfd.readouterr().err == ""
