"""What a device writes of its frames survives its restarts where it must."""

from __future__ import annotations

from pathlib import Path

from tercet.frame_record import FrameRecord, read_records
from tercet_device.results import Results
from tercet_device.shooting import ShotResult


def durable(sequence: int) -> ShotResult:
    record = FrameRecord(
        node="cam-1",
        sequence=sequence,
        source="a.png",
        model="m@0",
        plan="p",
        delivery="durable",
        acknowledged=True,
        latency_ms=1,
    )
    return ShotResult(record, None, None)


def written(path: Path) -> list[int]:
    return [record.sequence for record in read_records(path)]


def test_lines_of_an_earlier_run_are_kept_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for sequence in (1, 2):
        with Results(path, None, keep=True) as results:
            results.add(durable(sequence))
    assert written(path) == [1, 2]
    with Results(path, None) as results:
        results.add(durable(3))
    assert written(path) == [3]


def test_a_line_that_a_kill_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with Results(path, None, keep=True) as results:
        results.add(durable(1))
        results.add(durable(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with Results(path, None, keep=True) as results:
        results.add(durable(3))
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[0] == whole.splitlines(keepends=True)[0]
    assert lines[1] == whole.splitlines(keepends=True)[1][:-20] + b"\n"
    assert FrameRecord.model_validate_json(lines[2]).sequence == 3
