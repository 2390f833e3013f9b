"""The plan table that a device took instead of the deployed one, kept over restarts.

It belongs to the deployment that it was taken under: with another one it says nothing.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Literal

from tercet.documents import Document
from tercet.errors import TercetError
from tercet.identifiers import Sha256
from tercet.kept_file import forget_kept, read_kept, write_kept
from tercet.plans import Deployment
from tercet.shadows.documents import MAX_SHADOW_BYTES

log = logging.getLogger(__name__)

TABLE_FILE = "plan_table.json"


class KeptTable(Document):
    """The file: a table, and the sha256 of the deployment that it stands in for."""

    format: Literal[1] = 1
    deployed: Sha256
    table: Deployment


class TableFile:
    """Of one device. What cannot be kept or read is logged: frames go on with the table there is."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TABLE_FILE

    def table_for(self, deployed: Deployment) -> Deployment | None:
        """The table that was taken under this deployment, if one was."""
        try:
            data = read_kept(self._path, MAX_SHADOW_BYTES)
            kept = None if data is None else KeptTable.model_validate_json(data)
        except (TercetError, ValueError) as error:
            log.warning("kept plan table not read", extra={"reason": str(error)})
            return None
        return kept.table if kept is not None and kept.deployed == _digest(deployed) else None

    def keep(self, deployed: Deployment, table: Deployment | None) -> None:
        """Have this table after a restart; None: the deployed one. Blocks for as long as the disk takes."""
        try:
            if table is None:
                forget_kept(self._path)
                return
            kept = KeptTable(deployed=_digest(deployed), table=table)
            write_kept(self._path, kept.model_dump_json(exclude_defaults=True).encode())
        except TercetError as error:
            log.warning("plan table not kept", extra={"reason": str(error)})


def _digest(deployment: Deployment) -> str:
    return hashlib.sha256(deployment.model_dump_json().encode()).hexdigest()
