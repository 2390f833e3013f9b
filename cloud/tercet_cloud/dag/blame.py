"""Who is to blame for a worker that died. Knows no Ray.

Whether it was killed or a call took it down nobody knows: a call that was alone there is tried once more, and
blamed if the next worker dies as well; of several, each is tried again alone.
"""

from __future__ import annotations

from tercet_cloud.dag.outcomes import Task

# Deaths of a worker that a call is not blamed for.
_EXCUSED_DEATHS = 1
_Key = tuple[str, int, int]


class Blame:
    """Remembers suspects, and how often each was alone when its worker died, until they are cleared."""

    def __init__(self) -> None:
        self._deaths: dict[_Key, int] = {}

    def __len__(self) -> int:
        return len(self._deaths)

    def suspects(self, task: Task) -> bool:
        """Whether it is to be tried alone."""
        return task[:3] in self._deaths

    def suspect(self, task: Task) -> None:
        """Something went wrong that it had part in."""
        self._deaths.setdefault(task[:3], 0)

    def died(self, task: Task, *, alone: bool) -> bool:
        """Its worker has died; whether it is to blame."""
        self.suspect(task)
        if alone:
            self._deaths[task[:3]] += 1
        return alone and self._deaths[task[:3]] > _EXCUSED_DEATHS

    def clear(self, task: Task) -> None:
        """It came back."""
        self._deaths.pop(task[:3], None)

    def forget(self, run: str) -> None:
        """The run has ended."""
        for key in [key for key in self._deaths if key[0] == run]:
            del self._deaths[key]
