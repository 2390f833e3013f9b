"""From the recogniser's best classes to text.

The network names a character, or none, for every few columns of a line. A character that goes on over several
columns is named again and again, so repeats count once; a real double letter has a "none" between its two.

Source: Graves et al. 2006, Connectionist Temporal Classification, §3.2 (best path decoding).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Float32Array
from tercet.errors import TensorContractError

# Lines that the network is less sure of, on average over their characters, are left out.
MIN_SCORE = 0.5
_NONE = 0


class TextLine(TypedDict):
    """One line: what it says, how sure the network is (0 to 1), and its corners (x, y) in the photo."""

    text: str
    score: float
    corners: list[list[float]]


def spell(classes: npt.NDArray[np.int64], scores: Float32Array, alphabet: Sequence[str]) -> tuple[str, float]:
    """The text of one line and its mean score; "" and 0 where there is none.

    Args:
        classes, scores: (places,) the best class of each place, and its score.
        alphabet: the characters by class; the first stands for none.
    Raises:
        TensorContractError: a class that the alphabet lacks.
    """
    if classes.size and not 0 <= int(classes.min()) <= int(classes.max()) < len(alphabet):
        raise TensorContractError(f"the recogniser named class {int(classes.max())} of {len(alphabet)}")
    first = np.ones(len(classes), bool)
    first[1:] = classes[1:] != classes[:-1]
    kept = first & (classes != _NONE)
    if not kept.any():
        return "", 0.0
    return "".join(alphabet[index] for index in classes[kept].tolist()), float(scores[kept].mean(dtype=float))


def transcript(spelled: Sequence[tuple[str, float]], corners: Sequence[Float32Array]) -> list[TextLine]:
    """The lines that say something and are sure enough, in their order."""
    return [
        {"text": text, "score": score, "corners": box.tolist()}
        for (text, score), box in zip(spelled, corners, strict=True)
        if text.strip() and score >= MIN_SCORE
    ]
