"""A node's last desired state on its disk, and a mark while another one is tried.

FOLDER/desired.json     the last that was taken
FOLDER/trying.json      which one is being tried, and how often it ended the process by now
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from tercet.documents import Document, first_problem
from tercet.errors import IntegrityError
from tercet.identifiers import Sha256
from tercet.kept_file import forget_kept, read_kept, write_kept
from tercet.shadows.documents import MAX_KEPT_BYTES, MAX_VERSION, Desired, Kept, open_shadow

_MARK_BYTES = 4096


class Trying(Document):
    """The mark."""

    version: Annotated[int, Field(ge=1, le=MAX_VERSION)]
    digest: Sha256
    deaths: Annotated[int, Field(ge=0)] = 0


class ShadowFolder:
    """Of one node; blocks for as long as the disk takes. Raises UnavailableError if the disk does not take it."""

    def __init__(self, folder: Path) -> None:
        self._desired = folder / "desired.json"
        self._trying = folder / "trying.json"

    def last(self) -> Kept | None:
        """The last that was taken. IntegrityError or WireFormatError if the file is damaged."""
        data = read_kept(self._desired, MAX_KEPT_BYTES)
        return None if data is None else open_shadow(Kept, data, str(self._desired), MAX_KEPT_BYTES)

    def keep(self, kept: Kept) -> None:
        """Have this one after a restart."""
        write_kept(self._desired, kept.model_dump_json(exclude_defaults=True).encode())

    def deaths(self, desired: Desired) -> int:
        """How often the process ended while this one was tried."""
        mark = self._mark()
        return mark.deaths + 1 if mark is not None and mark.digest == desired.digest else 0

    def begin(self, desired: Desired) -> None:
        """This one is about to be tried: if the process ends now, the next one knows of what."""
        mark = Trying(version=desired.version, digest=desired.digest, deaths=self.deaths(desired))
        write_kept(self._trying, mark.model_dump_json().encode())

    def end(self) -> None:
        """The try ended without ending the process."""
        forget_kept(self._trying)

    def _mark(self) -> Trying | None:
        data = read_kept(self._trying, _MARK_BYTES)
        if data is None:
            return None
        try:
            return Trying.model_validate_json(data)
        except ValidationError as error:
            raise IntegrityError(f"{self._trying}: {first_problem(error)}") from error
