"""What a person gives a pipeline is its inputs, or one line says why not."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from tercet.errors import InputError, NotFoundError
from tercet_cloud.dag.input_values import read_inputs
from tercet_cloud.dag.spec import Pipeline

TENSOR = Pipeline(name="p", inputs={"x": "tensor[float32, _]"})
ANY = Pipeline(name="p", inputs={"x": "any"})


def npy() -> bytes:
    file = BytesIO()
    np.save(file, np.arange(3, dtype=np.float32))
    return file.getvalue()


def test_values_are_read_by_their_types(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy())
    assert read_inputs(TENSOR, [f"x=@{tmp_path}/x.npy"])["x"].tolist() == [0, 1, 2]
    assert read_inputs(ANY, ['x={"a": [1]}']) == {"x": {"a": [1]}}
    assert read_inputs(Pipeline(name="p", inputs={"x": "text"}), ["x=a=b"]) == {"x": "a=b"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 no zip",
        b"no array",
        npy()[:-1],
        npy()[:20],
        npy().replace(b"(3,)", b"(9" + b"9" * 15 + b",)"),
    ],
)
def test_a_file_that_is_no_array_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(InputError, match=r"input x: .*x\.npy is no \.npy file: ") as caught:
        read_inputs(TENSOR, [f"x=@{tmp_path}/x.npy"])
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="No such file"):
        read_inputs(TENSOR, [f"x=@{tmp_path}/x.npy"])


@pytest.mark.parametrize("depth", [65, 500, 100_000])
def test_lists_in_lists_without_end_are_refused(depth: int) -> None:
    with pytest.raises(InputError, match="over 64 lists and mappings lie in each other"):
        read_inputs(ANY, ["x=" + "[" * depth + "]" * depth])
    with pytest.raises(InputError, match="over 64 lists and mappings lie in each other"):
        read_inputs(ANY, ["x=" + '{"a":' * depth + "1" + "}" * depth])


def test_an_input_is_given_once() -> None:
    with pytest.raises(InputError, match="--input x is given twice"):
        read_inputs(ANY, ["x=1", "x=2"])
