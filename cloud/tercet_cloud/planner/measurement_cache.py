"""What was measured once and holds until the model, the frames, the menu, the runtime or the machine is another.

Documents in the store, STORE/measured/KIND-DIGEST.yaml; the digest is of everything that the measurement hangs on.
A document that cannot be read is measured again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tercet.documents import Document, read_document, write_document
from tercet.errors import NotFoundError, SpecError

log = logging.getLogger(__name__)

DIGEST_CHARS = 16
DocumentT = TypeVar("DocumentT", bound=Document)


class MeasurementCache:
    """One store's measurements.

    Args:
        root: the store's folder.
        fresh: measure everything again, and keep that.
    """

    def __init__(self, root: Path, *, fresh: bool = False) -> None:
        self._folder = root / "measured"
        self._fresh = fresh

    def path(self, kind: str, hangs_on: object) -> Path:
        """Where a measurement lies, or would.

        Args:
            kind: what it is, e.g. "coding".
            hangs_on: everything that makes it another one; plain data.
        """
        text = json.dumps(hangs_on, sort_keys=True, ensure_ascii=False)
        return self._folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]}.yaml"

    def find(self, document: type[DocumentT], path: Path) -> DocumentT | None:
        if self._fresh or not path.exists():
            return None
        try:
            return read_document(document, path)
        except (NotFoundError, SpecError) as error:
            log.warning("kept measurement cannot be read, measuring again", extra={"reason": str(error)})
            return None

    def keep(self, document: Document, path: Path) -> None:
        write_document(document, path)

    def get(self, document: type[DocumentT], path: Path, measure: Callable[[], DocumentT]) -> DocumentT:
        """The kept document, or a new one, which is kept."""
        found = self.find(document, path)
        if found is None:
            found = measure()
            self.keep(found, path)
        return found
