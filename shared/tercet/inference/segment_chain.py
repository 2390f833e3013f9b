"""A cut model in memory: runs any consecutive segments of one manifest.

Segments are loaded when first needed (or by `load`), each once, whichever plans use them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from tercet.codecs.codec import Array
from tercet.emulated_pace import EmulatedPace
from tercet.errors import InvariantError, SpecError, TensorContractError
from tercet.models.manifest import Boundary, Manifest, Segment
from tercet.models.store import Store

log = logging.getLogger(__name__)

DEFAULT_PROVIDERS = ("CPUExecutionProvider",)


class SegmentChain:
    """The segments of one manifest as ONNX Runtime sessions. Thread-safe; calls block while computing.

    Args:
        store: where the segments lie; each is hashed before it is loaded.
        threads: ONNX Runtime's threads per run. One is best on small boards and under many callers.
        providers: ONNX Runtime execution providers in order of preference.
        slowdown: emulation of a machine so many times slower: `run` sleeps after it has computed.
    """

    def __init__(
        self,
        manifest: Manifest,
        store: Store,
        *,
        threads: int = 1,
        providers: Sequence[str] = DEFAULT_PROVIDERS,
        slowdown: float = 1.0,
    ) -> None:
        self.manifest = manifest
        self.pace = EmulatedPace(slowdown, wall=threads > 1 or tuple(providers) != DEFAULT_PROVIDERS)
        self._store = store
        self._threads = threads
        self._providers = check_providers(providers)
        self._sessions: dict[int, ort.InferenceSession] = {}
        self._loading = threading.Lock()

    def load(self, indices: Iterable[int]) -> None:
        """Load segments ahead of the first frame. Raises NotFoundError, IntegrityError, SpecError."""
        for index in indices:
            self._session(index)

    @property
    def held(self) -> frozenset[int]:
        """Indices of the segments that are loaded, or lie in the store."""
        return frozenset(
            index
            for index, segment in enumerate(self.manifest.segments)
            if index in self._sessions or self._store.segment_path(segment.sha256).exists()
        )

    def run(self, tensors: Mapping[str, Array], start: int, stop: int) -> dict[str, Array]:
        """Compute boundary `stop` from boundary `start`.

        Args:
            tensors: all tensors of boundary `start`; never modified.
        Returns:
            the tensors of boundary `stop`, in the manifest's order.
        Raises:
            SpecError: there are no such boundaries, or `stop` is before `start`.
            TensorContractError: names, dtypes or shapes are not those of boundary `start`.
        """
        if not 0 <= start <= stop <= len(self.manifest.segments):
            last = len(self.manifest.segments)
            raise SpecError(f"{self.manifest.ref} has boundaries 0 to {last}: it cannot run {start} to {stop}")
        check_boundary(tensors, self.manifest.boundaries[start], f"boundary {start} of {self.manifest.ref}")
        self.load(range(start, stop))
        current = dict(tensors)
        with self.pace.slowed():
            for index in range(start, stop):
                segment = self.manifest.segments[index]
                outputs = _run_session(self._session(index), segment, current, index)
                current = {
                    spec.name: outputs[spec.name] if spec.name in outputs else current[spec.name]
                    for spec in self.manifest.boundaries[index + 1].tensors
                }
        return current

    def _session(self, index: int) -> ort.InferenceSession:
        session = self._sessions.get(index)
        if session is not None:
            return session
        with self._loading:
            if index not in self._sessions:
                segment = self.manifest.segments[index]
                session = open_session(self._store.segment_bytes(segment), self._threads, self._providers)
                _check_signature(session, segment, index)
                self._sessions[index] = session
                log.info("segment loaded", extra={"segment": index, "sha256": segment.sha256[:12]})
            return self._sessions[index]


def check_providers(providers: Sequence[str]) -> list[str]:
    """The providers, if this ONNX Runtime has them all: a missing accelerator is never silently replaced."""
    available = ort.get_available_providers()
    if missing := [provider for provider in providers if provider not in available]:
        raise SpecError(f"ONNX Runtime here has no {', '.join(missing)}; it has {', '.join(available)}")
    return list(providers)


def open_session(
    onnx_bytes: bytes, threads: int, providers: Sequence[str], *, trace_prefix: Path | None = None
) -> ort.InferenceSession:
    """An ONNX Runtime session; SpecError if the model can't be loaded.

    Args:
        trace_prefix: ONNX Runtime writes its times of kernels to a file that begins so.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin steal the processor from the other tiers of a small machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if trace_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(trace_prefix)
    try:
        return ort.InferenceSession(onnx_bytes, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's exceptions have no common public base
        reason = _first_line(error).removeprefix("[ONNXRuntimeError] : ")
        raise SpecError(
            f"ONNX Runtime cannot load this model: {reason}; export it with operations that {ort.__version__} has"
        ) from error


def _check_signature(session: ort.InferenceSession, segment: Segment, index: int) -> None:
    """SpecError unless the ONNX file takes and gives what the manifest says of it."""
    takes = {tensor.name for tensor in session.get_inputs()}
    gives = {tensor.name for tensor in session.get_outputs()}
    if takes != set(segment.inputs) or not gives.issuperset(segment.outputs):
        raise SpecError(
            f"segment {index} turns {sorted(takes)} into {sorted(gives)}, but its manifest says "
            f"{sorted(segment.inputs)} into {sorted(segment.outputs)}: slice the model again"
        )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def check_boundary(tensors: Mapping[str, Array], boundary: Boundary, what: str) -> None:
    """Raise TensorContractError unless `tensors` are exactly the boundary's, by name, dtype and shape."""
    if tensors.keys() != boundary.names:
        raise TensorContractError(f"{what} has tensors {sorted(boundary.names)}, not {sorted(tensors.keys())}")
    for spec in boundary.tensors:
        array = tensors[spec.name]
        fits = len(array.shape) == len(spec.shape) and all(
            expected is None or found == expected for found, expected in zip(array.shape, spec.shape, strict=True)
        )
        if array.dtype != np.dtype(spec.dtype) or not fits:
            shape = "×".join("?" if size is None else str(size) for size in spec.shape)
            raise TensorContractError(
                f"{what}: tensor {spec.name!r} is {array.dtype} {array.shape}, expected {spec.dtype} {shape}"
            )


def _run_session(
    session: ort.InferenceSession, segment: Segment, tensors: Mapping[str, Array], index: int
) -> dict[str, Array]:
    try:
        arrays: list[np.ndarray] = session.run(
            list(segment.outputs), {name: tensors[name] for name in segment.inputs}
        )
    except Exception as error:
        raise InvariantError(f"segment {index} failed on valid input: {_first_line(error)}") from error
    return dict(zip(segment.outputs, arrays, strict=True))
