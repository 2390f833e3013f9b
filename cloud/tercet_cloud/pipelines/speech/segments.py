"""From probabilities of speech to segments: where somebody speaks, from when to when.

Speech begins where the probability reaches `SPEECH` and ends where it falls below `SILENCE` and stays from there
without reaching `SPEECH` for `MIN_SILENCE_S`; what is in between the two changes nothing. Short segments go, the
others get a margin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SPEECH, SILENCE = 0.5, 0.35
MIN_SPEECH_S, MIN_SILENCE_S, MARGIN_S = 0.25, 0.1, 0.03

Span = tuple[int, int]


def speech_segments(probabilities: Sequence[float], window: int, rate_hz: int, length: int) -> list[Span]:
    """First sample and end of every segment, in order, none overlapping.

    Args:
        window: samples for one probability.
        length: samples of the whole sound.
    """
    least = MIN_SPEECH_S * rate_hz
    spans = [span for span in _spans(probabilities, window, rate_hz, length) if span[1] - span[0] > least]
    return _with_margins(spans, int(MARGIN_S * rate_hz), length)


def _spans(probabilities: Sequence[float], window: int, rate_hz: int, length: int) -> Iterable[Span]:
    begun: int | None = None
    quiet_since: int | None = None
    for number, probability in enumerate(probabilities):
        here = number * window
        if probability >= SPEECH:
            begun = here if begun is None else begun
            quiet_since = None
        elif probability < SILENCE and begun is not None:
            quiet_since = here if quiet_since is None else quiet_since
            if here - quiet_since >= MIN_SILENCE_S * rate_hz:
                yield begun, quiet_since
                begun = quiet_since = None
    if begun is not None:
        yield begun, length


def _with_margins(spans: Sequence[Span], margin: int, length: int) -> list[Span]:
    """Wider by the margin on both sides; where the gap is too small for two margins, each takes half of it."""
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    for left in range(len(spans) - 1):
        gap = starts[left + 1] - ends[left]
        taken = margin if gap >= 2 * margin else gap // 2
        ends[left] += taken
        starts[left + 1] -= taken
    if spans:
        starts[0], ends[-1] = max(0, starts[0] - margin), min(length, ends[-1] + margin)
    return list(zip(starts, ends, strict=True))
