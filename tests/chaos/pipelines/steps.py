"""What the pipelines' nodes compute: plain functions with known results, each of which leaves its trace."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from chaos.pipelines.trace import executing, executions

LINE_ROWS, LINE_COLUMNS = 48, 192


def count(trace: str, idempotency_key: str, start: int, items: int) -> list[int]:
    with executing(trace, idempotency_key):
        return list(range(start, start + items))


def scale(x: int, trace: str, idempotency_key: str, factor: int, plus: int, pace_s: float) -> int:
    with executing(trace, idempotency_key):
        time.sleep(pace_s)
        return x * factor + plus


def total(parts: list[int], trace: str, idempotency_key: str, pace_s: float) -> int:
    with executing(trace, idempotency_key):
        time.sleep(pace_s)
        return sum(parts)


def stumble(x: int, trace: str, idempotency_key: str, failures: int) -> int:
    """Raises the first so many times that it comes to its end, whichever processes these were in."""
    with executing(trace, idempotency_key):
        failed = [each for each in executions(Path(trace)) if each.key == idempotency_key and each.failed]
        if len(failed) < failures:
            raise RuntimeError(f"stumbled {len(failed) + 1} times of {failures}")
        return 2 * x + 1


def line_tensors(lines: list[Any], trace: str, idempotency_key: str) -> list[Any]:
    """Pictures of one size as the tensors that the network takes."""
    with executing(trace, idempotency_key):
        return [line_tensor(line) for line in lines]


def line_tensor(line: np.ndarray) -> np.ndarray:
    """(1, 3, 48, 192) float32 from -1 to 1, of (48, 192, 3) uint8."""
    return (line.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[np.newaxis]


def turned(answers: list[Any], trace: str, idempotency_key: str) -> list[float]:
    """How likely each line stands on its head, of the network's answers."""
    with executing(trace, idempotency_key):
        return [float(scores[0, 1]) for answer in answers for scores in answer.values()]
