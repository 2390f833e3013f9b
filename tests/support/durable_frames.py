"""Durable frames for tests: real sealed ones, and what the journal is told of them."""

from __future__ import annotations

import random
from collections.abc import Callable

from tercet.durable.capture_time import CaptureStamp
from tercet.durable.journal import Arrival
from tercet.identifiers import NodeId
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame

MODEL = "m@0123456789ab"
STAMP = CaptureStamp(1_700_000_000_000_000, 1_000_000, "3f1c9f0e-0000-4000-8000-000000000000")


def sealed(node: str, sequence: int, payload: bytes = b"1234") -> bytes:
    """A frame of one raw uint8 tensor."""
    header = pb.FrameHeader(
        model=MODEL, plan="p", boundary=1, node=node, sequence=sequence, delivery=pb.DELIVERY_CLASS_DURABLE
    )
    header.tensors.add(
        name="a", dtype=pb.DATA_TYPE_UINT8, shape=[len(payload)], codec="raw", payload_bytes=len(payload)
    )
    return Frame(header, [payload]).seal()


def sealing(node: str, payload: bytes = b"1234") -> Callable[[int], bytes]:
    """For `Journal.record`."""
    return lambda sequence: sealed(node, sequence, payload)


def arrival(node: str, sequence: int, size_bytes: int = 4, *, seed: int = 0) -> Arrival:
    """A frame handed over: the same bytes for the same arguments."""
    payload = random.Random(f"{seed}/{node}/{sequence}").randbytes(size_bytes)
    return Arrival(NodeId(node), sequence, sealed(node, sequence, payload), STAMP)
