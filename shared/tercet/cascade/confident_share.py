"""How many of a stage's frames are confident lately, beside how many usually are. Needs no verdicts."""

from __future__ import annotations

_USUAL_FRAMES = 2000
_LATE_FRAMES = 200
# So many confident frames more or less among the late ones are chance.
_CHANCE = 5.0


class ConfidentShare:
    """Two means of the share of confident frames: over some thousand frames, and over the last few hundred."""

    def __init__(self) -> None:
        self._seen = 0
        self._usual = self._late = 0.0

    def see(self, confident: bool) -> None:
        self._seen += 1
        self._usual += (confident - self._usual) / min(self._seen, _USUAL_FRAMES)
        self._late += (confident - self._late) / min(self._seen, _LATE_FRAMES)

    @property
    def scarcity(self) -> float:
        """How many times fewer are confident lately than usually; 1 if as many or more.

        Frames that changed make a stage unsure of most: then the few that still exit are the ones to look at.
        """
        return max(1.0, (self._usual * _LATE_FRAMES + _CHANCE) / (self._late * _LATE_FRAMES + _CHANCE))
