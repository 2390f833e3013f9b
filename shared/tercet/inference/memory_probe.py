"""What a cut model needs in memory, measured in a process of its own: this one has held other things before.

Run as `python -m tercet.inference.memory_probe` with the request as JSON on stdin; answers with JSON on stdout.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tercet.documents import Document
from tercet.errors import UnavailableError
from tercet.identifiers import ModelRef
from tercet.inference.sample_inputs import Shapes, sample_inputs
from tercet.inference.segment_chain import SegmentChain
from tercet.machine import resident_bytes
from tercet.models.store import Store
from tercet.process import die_with_parent
from tercet.profile import ProfileMemory

_RUNS = 3
_TIMEOUT_S = 600.0


class ProbeRequest(Document):
    """What to load and run."""

    store: Path
    ref: str
    threads: int
    providers: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]


def measure_memory(
    store: Store, ref: ModelRef, *, threads: int, providers: Sequence[str], shapes: Shapes
) -> ProfileMemory:
    """Load a cut model and run it, in a child process. UnavailableError if that fails."""
    request = ProbeRequest(
        store=store.root, ref=ref, threads=threads, providers=tuple(providers), shapes=dict(shapes)
    )
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tercet.inference.memory_probe"],
            input=request.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            preexec_fn=die_with_parent,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"memory of {ref} was not measured within {_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        reason = next(iter(done.stderr.strip().splitlines()[-1:]), f"status {done.returncode}")
        raise UnavailableError(f"memory of {ref} could not be measured: {reason}")
    return ProfileMemory.model_validate_json(done.stdout)


def _probe(request: ProbeRequest) -> ProfileMemory:
    store = Store(request.store)
    manifest = store.manifest(ModelRef(request.ref))
    inputs = sample_inputs(manifest.boundaries[0], request.shapes)
    before_bytes = resident_bytes()
    chain = SegmentChain(manifest, store, threads=request.threads, providers=request.providers)
    for _ in range(_RUNS):
        chain.run(inputs, 0, len(manifest.segments))
    return ProfileMemory(
        runtime_bytes=before_bytes,
        loaded_bytes=max(0, resident_bytes() - before_bytes),
        weights_bytes=sum({segment.sha256: segment.size_bytes for segment in manifest.segments}.values()),
    )


if __name__ == "__main__":
    print(_probe(ProbeRequest.model_validate_json(sys.stdin.read())).model_dump_json())
