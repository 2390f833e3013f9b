"""`stack.json`: how to reach a stack that `tercet demo --keep` left running."""

from __future__ import annotations

from pathlib import Path

from tercet.documents import Document, read_document
from tercet.errors import NotFoundError

DEFAULT_STACK_FILE = Path(".tercet/demo/stack.json")


class StackFile(Document):
    """What a device must know to join; `device_slowdown` is over 1 where devices emulate slower machines.

    With a `cascade`, `deployment` is that of its first stage.
    """

    broker_url: str
    fleet: str
    store: Path
    deployment: Path
    cascade: Path | None = None
    device_slowdown: float = 1.0

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> StackFile:
        """NotFoundError if no stack is running there."""
        if not path.exists():
            raise NotFoundError(f"no running stack ({path} is not there): start one with `tercet demo --keep`")
        return read_document(cls, path)
