"""Functions that the tests' pipelines call."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np

Image = Annotated[np.ndarray[Any, Any], "image"]


class Found(TypedDict):
    """What `find` gives."""

    boxes: list[list[float]]
    score: float


def find(image: Image, threshold: float = 0.5) -> Found:
    return {"boxes": [[0.0, 1.0]], "score": threshold}


def read(line: Image) -> str:
    return str(line.shape)


def count(boxes: list[list[float]]) -> int:
    return len(boxes)


def only_positional(x: int, /) -> int:
    return x


def anything(**parts: Any) -> Any:
    return parts


def told(idempotency_key: str, attempt: int, x: int = 0) -> str:
    return f"{idempotency_key} {attempt}"


def wrong_type(x: int) -> str:
    return x  # type: ignore[return-value]


def fails(x: int) -> int:
    print("about to fail")
    raise RuntimeError(f"no {x}")


async def waits(x: int) -> int:
    return x + 1


def greedy(x: int) -> int:
    return len(bytearray(400 << 20)) + x


def listed(x: int) -> list[int]:
    return list(range(x))


def inc(x: int) -> int:
    return x + 1


def nested(x: int) -> dict[str, Any]:
    return {"numbers": list(range(x))}


def only_even(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


def hangs(x: int) -> int:
    while True:
        time.sleep(0.05)


def hangs_at(x: int, at: int) -> int:
    return hangs(x) if x == at else x


def logs(x: int) -> int:
    logging.getLogger(__name__).info("told %d", x)
    logging.getLogger(__name__).debug("not told")
    return x


def dies(x: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


def large(x: int) -> bytes:
    return bytes([x]) * (3 << 20)


def traced(x: Any, trace: str, idempotency_key: str) -> Any:
    with Path(trace).open("a") as file:
        file.write(f"{idempotency_key}\n")
    return x


def until_there(x: Any, trace: str) -> Any:
    while not Path(f"{trace}.go").exists():
        time.sleep(0.02)
    return x


def leaves(x: int) -> int:
    raise SystemExit(3)


def needs_more(x: int, more: int) -> int:
    return x + more


def talks(x: int) -> int:
    for _ in range(x // 100):
        print("word " * 20)
    print("the end")
    return x


def dies_once(x: int, mark: str) -> int:
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x
