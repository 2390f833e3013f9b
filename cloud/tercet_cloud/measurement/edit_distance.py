"""How alike two texts are that a model reads, as sequences of label indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Array

# In the alphabets of CTC models, "nothing here".
BLANK = 0
PADDING = -1

Labels = npt.NDArray[np.int64]


def read_labels(output: Array) -> Labels:
    """The labels that a model's output says, in order: (labels,).

    Scores (…, steps, labels) are read greedily as CTC has it: the best label of each step, repetitions taken
    together, blanks (label 0) left out. Whole numbers are labels already, filled up with -1.
    """
    if output.dtype.kind in "iu":
        flat: Labels = output.reshape(-1).astype(np.int64)
        real: Labels = flat[flat != PADDING]
        return real
    best = np.argmax(output.reshape(-1, output.shape[-1] if output.ndim else 1), axis=-1).astype(np.int64)
    changes = np.ones(len(best), bool)
    changes[1:] = best[1:] != best[:-1]
    said: Labels = best[changes & (best != BLANK)]
    return said


def text_likeness(reference: Array, found: Array) -> float:
    """1 less the edit distance of what two outputs say, relative to the longer; 1 if both say nothing."""
    wanted, given = read_labels(reference), read_labels(found)
    longer = max(len(wanted), len(given))
    return 1 - edit_distance(wanted.tolist(), given.tolist()) / longer if longer else 1.0


def edit_distance(first: Sequence[int], second: Sequence[int]) -> int:
    """The fewest insertions, deletions and replacements that turn one into the other (Levenshtein)."""
    rows, columns = np.asarray(first, np.int64), np.asarray(second, np.int64)
    steps = np.arange(len(columns) + 1)
    distances = steps.copy()
    for number, item in enumerate(rows, start=1):
        replaced = distances[:-1] + (columns != item)
        deleted = distances[1:] + 1
        best = np.concatenate([[number], np.minimum(replaced, deleted)])
        # An insertion costs one a column: the least of everything to the left, and the way from there.
        distances = np.minimum.accumulate(best - steps) + steps
    return int(distances[-1])
