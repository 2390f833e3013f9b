"""What the nodes of the bench's pipelines do."""

from __future__ import annotations

import time
from typing import Any

NODE_S = 0.01


def nothing(**before: Any) -> int:
    """As little as a node can do."""
    return len(before)


def sleep(**before: Any) -> int:
    """Takes NODE_S and no processor, as a node that waits for an accelerator or a link."""
    time.sleep(NODE_S)
    return len(before)


def spin(**before: Any) -> int:
    """Takes NODE_S of a processor."""
    until_s = time.thread_time() + NODE_S
    while time.thread_time() < until_s:
        pass
    return len(before)
