"""What waits to be written: in the order in which it was told, in batches of a bounded size.

A batch is the beginning of the line, so states never overtake the results before them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from tercet.limits import MIB
from tercet_cloud.dag.run_store import Batch
from tercet_cloud.dag.run_tables import Row

# Of one batch: more would keep others, and the runs' beats, waiting for too long.
_MAX_ROWS = 5000
_MAX_VALUES = 500
_MAX_BYTES = 8 * MIB

Table = Literal["runs", "nodes", "items", "values"]


class Entry(NamedTuple):
    """A row to be written.

    Attributes:
        row: of a run, only the columns that change.
        kept: a reference to the bytes of a value that are to stand in its row.
        size_bytes: about how much memory it takes until it is written.
    """

    table: Table
    row: Row
    kept: Any = None
    size_bytes: int = 0

    @property
    def run(self) -> str:
        return str(self.row["run"])


class WriteQueue:
    """See the module.

    Attributes:
        told, done: how many entries were ever put, and how many of those, the first, are done with.
        size_bytes: of those that are not.
    """

    def __init__(self) -> None:
        self._line: deque[Entry] = deque()
        self.told = self.done = self.size_bytes = 0

    def put(self, entry: Entry) -> None:
        self._line.append(entry)
        self.told += 1
        self.size_bytes += entry.size_bytes

    def take(self) -> list[Entry]:
        """The next that go together, in order; empty if nothing waits. They count until `finish`."""
        taken: list[Entry] = []
        size_bytes = values = 0
        while self._line and len(taken) < _MAX_ROWS:
            entry = self._line[0]
            size_bytes += entry.size_bytes
            values += entry.kept is not None
            if taken and (size_bytes > _MAX_BYTES or values > _MAX_VALUES):
                break
            taken.append(self._line.popleft())
        return taken

    def finish(self, taken: list[Entry]) -> None:
        """What was taken is written, or never will be."""
        self.done += len(taken)
        self.size_bytes -= sum(entry.size_bytes for entry in taken)


def batch_of(entries: Iterable[Entry]) -> tuple[Batch, list[Any]]:
    """Entries as one batch, and references to the bytes of its values, in order."""
    runs: dict[str, Row] = {}
    nodes: dict[tuple[str, str], Row] = {}
    items: dict[tuple[str, str, int], Row] = {}
    values: list[Row] = []
    kept: list[Any] = []
    for table, row, reference, _ in entries:
        match table:
            case "runs":
                runs[row["run"]] = {**runs.get(row["run"], {}), **row}
            case "nodes":
                nodes[row["run"], row["node"]] = row
            case "items":
                items[row["run"], row["node"], row["item"]] = row
            case "values":
                values.append(row)
                if reference is not None:
                    kept.append(reference)
    return Batch(list(runs.values()), list(nodes.values()), list(items.values()), values), kept
