from __future__ import annotations

from tercet_cloud.error_lines import last_line


def test_the_last_line_that_says_something_is_the_reason() -> None:
    assert (
        last_line(RuntimeError("Traceback\n  File x\n\nValueError: no \x1b[31m\n \n")) == r"ValueError: no \x1b[31m"
    )
    assert last_line(TimeoutError()) == "TimeoutError"
    assert len(last_line(RuntimeError("x" * 1000))) == 300
