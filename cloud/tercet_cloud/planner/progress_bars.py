"""Progress of measuring, on stderr: one bar a step, gone when all is done."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class ProgressBars:
    """A context. Nothing is drawn where stderr is no terminal."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> ProgressBars:
        # Stopping bars that are not drawn would print an empty line.
        if not self._bars.disable:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bars.disable:
            self._bars.stop()

    def begin(self, title: str) -> Callable[[float], None]:
        """A bar; what it gives takes the share done, 0…1."""
        task = self._bars.add_task(title, total=1.0)
        return lambda share: self._bars.update(task, completed=share)

    def repeat(self, title: str) -> Callable[[int, int], None]:
        """A bar for what may be done several times, drawn once it is; what this gives takes how much of one is
        done, and of how much.
        """
        tasks: list[TaskID] = []
        finished = 0

        def tell(done: int, total: int) -> None:
            nonlocal finished
            if not tasks:
                tasks.append(self._bars.add_task(title, total=total))
            self._bars.update(tasks[0], completed=done, total=total, description=f"{title} ({finished + 1})")
            finished += done == total

        return tell
