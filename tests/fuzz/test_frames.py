"""The short, seeded part of `make fuzz`."""

from __future__ import annotations

from fuzz.frames import Findings, fuzz, receive_checked, seeds


def test_sound_messages_are_received_or_refused_by_name() -> None:
    found = Findings()
    for message in seeds():
        receive_checked(message, found)
    assert found.broken == []
    assert found.outcomes["decoded"] > 10


def test_no_mutated_frame_crashes_hangs_or_takes_memory() -> None:
    found = fuzz(20_000, seed=20)
    assert found.broken == []
    # Mutations reach every layer: the seal, the header, the codecs and the tensors.
    assert {"WireFormatError", "FrameTooLargeError", "SpecError", "decoded"} <= found.outcomes.keys()
