"""An uncut ONNX model in memory: the reference that cut models are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tercet.codecs.codec import Array
from tercet.inference.segment_chain import DEFAULT_PROVIDERS, check_providers, open_session


class WholeModel:
    """Runs all of a model. SpecError if ONNX Runtime cannot load it."""

    def __init__(
        self, onnx_bytes: bytes, *, threads: int = 1, providers: Sequence[str] = DEFAULT_PROVIDERS
    ) -> None:
        self._session = open_session(onnx_bytes, threads, check_providers(providers))
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))
