"""Where a node keeps what it must still know after a restart."""

from __future__ import annotations

from pathlib import Path

from tercet.identifiers import NodeId

DEFAULT_ROOT = Path(".tercet/state")


def default_state(node: NodeId) -> Path:
    """A node's folder, unless told otherwise."""
    return DEFAULT_ROOT / node
