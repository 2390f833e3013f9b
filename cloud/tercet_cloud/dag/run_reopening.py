"""A run that has ended made ready to go on: what succeeded stays, the rest is run again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, select, update

from tercet.errors import SpecError
from tercet_cloud.dag.outcomes import NodeState, RunState
from tercet_cloud.dag.run_reading import spec_of
from tercet_cloud.dag.run_tables import cancels, items, nodes, runs

_STAYING = (NodeState.DONE.value, NodeState.SKIPPED.value, NodeState.RUNNING.value)
_UNWANTED = (NodeState.FAILED.value, NodeState.CANCELLED.value, NodeState.EXPIRED.value)


def reopen(connection: Connection, row: Any) -> None:
    """Of a run that has ended. SpecError if there is nothing to run again, or its pipeline cannot be read."""
    if row.state == RunState.DONE.value and not row.partial:
        raise SpecError(
            f"run {row.run} is done, there is nothing to run again; "
            f"`tercet pipeline show {row.run} --outputs` prints what it gave"
        )
    of_run = nodes.c.run == row.run
    # Of a list that was not gone through to its end, the items that succeeded stay.
    ended_early = of_run & nodes.c.state.in_(_UNWANTED) & nodes.c["items"].is_not(None)
    connection.execute(update(nodes).where(ended_early).values(state=NodeState.RUNNING.value))
    if row.partial:
        # A node that is done though items failed is opened again for those items.
        failed = select(items.c.node).where(items.c.run == row.run, items.c.state == NodeState.FAILED.value)
        connection.execute(
            update(nodes).where(of_run, nodes.c.node.in_(failed)).values(state=NodeState.RUNNING.value)
        )
        _open_behind(connection, row)
    connection.execute(delete(items).where(items.c.run == row.run, items.c.state != NodeState.DONE.value))
    connection.execute(delete(nodes).where(of_run, nodes.c.state.not_in(_STAYING)))
    connection.execute(delete(cancels).where(cancels.c.run == row.run))
    connection.execute(
        update(runs)
        .where(runs.c.run == row.run)
        .values(state=RunState.QUEUED.value, ended_s=None, reason="", partial=False, deadline_at_s=None, owner="")
    )


def _open_behind(connection: Connection, row: Any) -> None:
    """What read a partial result reads the whole one: everything behind nodes that are opened again is, too."""
    running = select(nodes.c.node).where(nodes.c.run == row.run, nodes.c.state == NodeState.RUNNING.value)
    opened = set(connection.scalars(running))
    downstream, waiting = spec_of(row).downstream(), list(opened)
    while waiting:
        for after in downstream[waiting.pop()]:
            if after not in opened:
                opened.add(after)
                waiting.append(after)
                for table in (nodes, items):
                    connection.execute(delete(table).where(table.c.run == row.run, table.c.node == after))
