"""Settings that every keeper of durable frames has: where its state is, and what bounds it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from tercet.durable.bounds import Bounds, Policy
from tercet.errors import SpecError
from tercet.identifiers import NodeId
from tercet.limits import MIB
from tercet.settings import ProcessSettings
from tercet.state_folder import default_state
from tercet.wall_clock import MOST_S, ClockJump, WallClock


class JournalSettings(ProcessSettings):
    """See each field."""

    state: Path | None = None
    """Folder of what must survive a restart; one process at a time. Default: .tercet/state/NODE."""
    journal_max_mb: Annotated[int, Field(ge=1, le=1 << 20)] = 256
    """Megabytes (2^20 bytes) of durable frames kept here."""
    journal_max_age_s: Annotated[float, Field(ge=0)] = 0
    """Durable frames older than this are dropped, counted and logged; 0: never."""
    journal_policy: Policy = "refuse-newest"
    """Beyond the megabytes: refuse-newest, so that whoever sends must wait, or expire-oldest."""
    max_tries: Annotated[int, Field(ge=1, le=100)] = 3
    """Tries of a frame that fails by its own fault before it goes to the dead letters (`tercet dlq`)."""
    emulated_clock_offset_s: Annotated[float, Field(ge=-MOST_S, le=MOST_S)] = 0
    """Emulation: a wall clock that is so many seconds ahead, or with a minus behind."""
    emulated_clock_jump_s: str = ""
    """Emulation: AT:BY, a wall clock that jumps BY seconds when the process has run for AT seconds."""

    @field_validator("emulated_clock_jump_s")
    @classmethod
    def _check_jump(cls, text: str) -> str:
        try:
            return str(ClockJump.parse(text)) if text else ""
        except SpecError as error:
            raise ValueError(str(error)) from error

    def state_folder(self, node: NodeId) -> Path:
        """Where the state of `node` is."""
        return self.state or default_state(node)

    def bounds(self) -> Bounds:
        """What bounds the journal."""
        return Bounds(
            max_bytes=self.journal_max_mb * MIB,
            max_age_s=self.journal_max_age_s or None,
            policy=self.journal_policy,
        )

    def wall_clock(self) -> WallClock:
        """The wall clock of the process, right or emulated."""
        jump = ClockJump.parse(self.emulated_clock_jump_s) if self.emulated_clock_jump_s else None
        return WallClock(self.emulated_clock_offset_s, jump)
