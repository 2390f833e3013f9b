"""What an engine knows of a run, a node and an item, as rows of the tables they are kept in."""

from __future__ import annotations

import json

from tercet_cloud.dag.records import ItemRecord, NodeRecord, RunRecord
from tercet_cloud.dag.run_tables import Row


def run_row(record: RunRecord) -> Row:
    return {
        "run": record.run,
        "state": record.state.value,
        "started_s": record.started_s,
        "ended_s": record.ended_s,
        "reason": record.reason,
        "partial": record.partial,
    }


def node_row(run: str, record: NodeRecord) -> Row:
    return {
        "run": run,
        "node": record.node,
        "state": record.state.value,
        "attempts": record.attempts,
        "started_s": record.started_s,
        "ended_s": record.ended_s,
        "reason": record.reason,
        "items": record.items,
        "troubles": json.dumps(record.troubles, ensure_ascii=False),
        "log": record.log,
        "busy_s": record.busy_s,
    }


def item_row(run: str, node: str, record: ItemRecord) -> Row:
    return {
        "run": run,
        "node": node,
        "item": record.item,
        "state": record.state.value,
        "attempts": record.attempts,
        "started_s": record.started_s,
        "ended_s": record.ended_s,
        "reason": record.reason,
    }
