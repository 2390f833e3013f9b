"""Ray, imported as Tercet does it: told before to ask for a token, and with no say in anybody's logs.

To be imported before anything that imports Ray by itself. What Ray reads at its import holds for all of a process:
a session in a later test fails if it was imported otherwise.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from tercet_cloud.serving.cluster import ray_environment


def _import() -> None:
    record_factory = logging.getLogRecordFactory()
    before = dict(os.environ)
    os.environ.update(ray_environment(Path("/nonexistent"), 20_000, 1))
    try:
        import ray  # noqa: F401
    finally:
        os.environ.clear()
        os.environ.update(before)
        # That it was told.
        os.environ["RAY_AUTH_MODE"] = "token"
    logging.setLogRecordFactory(record_factory)


_import()
