"""The speech detector: from sound to the probability of speech in every 32 ms of it.

The network looks at one window and the end of the one before, and carries a state from window to window: windows of
one recording go through it in order.
"""

from __future__ import annotations

import numpy as np

from tercet.codecs.codec import Float32Array
from tercet.inference.whole_model import WholeModel
from tercet.models.store import Store
from tercet_cloud.models.packaged_models import SPEECH_DETECTOR
from tercet_cloud.pipelines.speech.sound import Sound

WINDOW_S, CONTEXT_S = 0.032, 0.004
_STATE_SHAPE = (2, 1, 128)


def window_samples(rate_hz: int) -> int:
    return round(WINDOW_S * rate_hz)


class SpeechDetector:
    """Runs the network of a store, on one thread. NotFoundError if it is not there."""

    def __init__(self, store: Store) -> None:
        self._model = WholeModel(store.model_bytes(store.card(SPEECH_DETECTOR)))

    def probabilities(self, sound: Sound) -> list[float]:
        """One for each window of the sound, the last filled up with silence; 0 to 1. Safe to call from threads."""
        window, context = window_samples(sound.rate_hz), round(CONTEXT_S * sound.rate_hz)
        silence = np.zeros(-len(sound.samples) % window, np.float32)
        padded = np.concatenate([np.zeros(context, np.float32), sound.samples, silence])
        state: Float32Array = np.zeros(_STATE_SHAPE, np.float32)
        rate = np.array(sound.rate_hz, np.int64)
        found = []
        for start in range(0, len(padded) - context, window):
            heard = padded[np.newaxis, start : start + context + window]
            answer = self._model.run({"input": heard, "state": state, "sr": rate})
            state = np.asarray(answer["stateN"], np.float32)
            found.append(float(np.asarray(answer["output"], np.float32)[0, 0]))
        return found
