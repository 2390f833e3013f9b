import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from support.durable_frames import MODEL, STAMP, arrival, sealing
from tercet.cli.main import run
from tercet.durable.bounds import Bounds
from tercet.durable.journal import Entry, Journal
from tercet.errors import TensorContractError

ALL = (0, 1000, 1 << 40)
ERROR = TensorContractError("tensor 'a' is of\x1b[1m another shape")


def opened(path: Path) -> Journal:
    return Journal.open(path, Bounds(), max_tries=1, ballast_bytes=0)


async def bury(journal: Journal, entries: list[Entry]) -> None:
    for entry in entries:
        assert await journal.failed(entry.position, ERROR)


async def two_nodes(state: Path) -> None:
    """A device with a dead letter, an edge with two."""
    async with opened(state / "cam-1" / "outbox.db") as journal:
        await journal.record(sealing("cam-1"), STAMP)
        await bury(journal, await journal.pending(*ALL))
    async with opened(state / "edge-1" / "journal.db") as journal:
        await journal.take([arrival("cam-2", sequence) for sequence in (1, 2, 3)])
        await bury(journal, (await journal.pending(*ALL))[:2])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    asyncio.run(two_nodes(tmp_path / "state"))
    return tmp_path / "state"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["dlq", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_tells_of_every_node_below_the_folder(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "list", "--state", str(state))
    assert [(Path(one["journal"]).name, one["node"], one["tries"], one["error_kind"]) for one in found] == [
        ("outbox.db", "cam-1", 1, "TensorContractError"),
        ("journal.db", "cam-2", 1, "TensorContractError"),
        ("journal.db", "cam-2", 1, "TensorContractError"),
    ]
    assert [one["frame"] for one in said(capsys, "list", "--state", str(state / "edge-1"))] == [
        "cam-2/1",
        "cam-2/2",
    ]


def test_the_table_keeps_what_peers_wrote_on_its_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dlq", "list", "--state", str(state)]) == 0
    shown = capsys.readouterr().out
    assert "cam-2/1" in shown
    assert "\x1b[1m another" not in shown


def test_show_tells_why_it_died_and_what_it_is(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "frame.bin"
    facts = said(capsys, "show", "cam-2/2", "--state", str(state), "--save", str(saved))
    assert facts["frame"] == "cam-2/2"
    assert facts["frame_header"]["model"] == MODEL
    assert facts["frame_header"]["tensors"] == [{"name": "a", "codec": "raw", "shape": [4], "bytes": 4}]
    assert saved.read_bytes() == arrival("cam-2", 2).sealed
    assert run(["dlq", "show", "cam-2/2", "--state", str(state)]) == 0
    assert MODEL in capsys.readouterr().out


def test_retry_puts_a_letter_behind_what_waits_with_no_try_counted(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "retry", "cam-2/1", "--state", str(state)) == {"retried": ["cam-2/1"]}
    assert [one["frame"] for one in said(capsys, "list", "--state", str(state / "edge-1"))] == ["cam-2/2"]

    async def waiting() -> list[Entry]:
        async with opened(state / "edge-1" / "journal.db") as journal:
            return await journal.pending(*ALL)

    entries = asyncio.run(waiting())
    assert [(entry.sequence, entry.tries) for entry in entries] == [(3, 0), (1, 0)]
    assert entries[1].sealed == arrival("cam-2", 1).sealed
    # It may die again.
    asyncio.run(die_again(state / "edge-1" / "journal.db"))
    assert len(said(capsys, "list", "--state", str(state / "edge-1"))) == 3


async def die_again(path: Path) -> None:
    async with opened(path) as journal:
        await bury(journal, await journal.pending(*ALL))


def test_retry_all_empties_every_box(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(said(capsys, "retry", "--all", "--state", str(state))["retried"]) == 3
    assert said(capsys, "list", "--state", str(state)) == []
    assert said(capsys, "retry", "--all", "--state", str(state)) == {"retried": []}


async def test_a_running_node_takes_up_what_was_retried(tmp_path: Path) -> None:
    async with opened(tmp_path / "journal.db") as journal:
        await journal.take([arrival("a", 1), arrival("a", 2)])
        await bury(journal, (await journal.pending(*ALL))[:1])
        last = (await journal.pending(*ALL))[-1].position
        journal.arrived.clear()
        command = ["-m", "tercet.cli", "dlq", "retry", "a/1", "--state", str(tmp_path)]
        other = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
        said_by_it, _ = await asyncio.wait_for(other.communicate(), 60)
        assert said_by_it == b"1 put back: a/1\n"
        async with asyncio.timeout(10):
            await journal.arrived.wait()
        # A sender that has come so far finds it.
        assert [entry.sequence for entry in await journal.pending(last, 9, 9)] == [1]
        held = journal.held()
        assert (held.frames, held.dead_letters, held.dead_letter_bytes) == (2, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["show", "cam-2"], os.EX_DATAERR, "NODE/SEQUENCE"),
        (["show", "cam-2/x"], os.EX_DATAERR, "NODE/SEQUENCE"),
        (["show", "cam-2/99"], os.EX_NOINPUT, "not among the dead letters"),
        (["retry", "cam-2/1", "cam-2/99"], os.EX_NOINPUT, "not among the dead letters"),
        (["retry"], os.EX_CONFIG, "or give --all"),
        (["retry", "--all", "cam-2/1"], os.EX_CONFIG, "or give --all"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, text: str
) -> None:
    assert run(["dlq", *arguments, "--state", str(state)]) == status
    shown = capsys.readouterr().err
    assert text in shown
    assert shown.count("\n") == 1
    # Nothing of a list is done if one of it is wrong.
    assert len(said(capsys, "list", "--state", str(state))) == 3


def test_a_folder_without_a_journal_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.db").write_bytes(b"something else")
    assert run(["dlq", "list", "--state", str(tmp_path)]) == os.EX_NOINPUT
    assert "name a node's folder by --state" in capsys.readouterr().err


def test_an_empty_box_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(opened(tmp_path / "journal.db").close())
    assert run(["dlq", "list", "--state", str(tmp_path)]) == 0
    assert "no dead letters" in capsys.readouterr().out
