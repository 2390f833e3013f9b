"""Random inputs: the shapes that were asked for, and a clear word where none can be known."""

from __future__ import annotations

import numpy as np
import pytest

from tercet.errors import FrameTooLargeError, SettingsError, SpecError
from tercet.inference.sample_inputs import parse_shapes, sample_inputs
from tercet.models.manifest import Boundary, TensorSpec


def boundary(*shape: int | None, dtype: str = "float32") -> Boundary:
    return Boundary(tensors=(TensorSpec.model_validate({"name": "x", "dtype": dtype, "shape": shape}),))


def test_a_free_first_axis_is_one_frame() -> None:
    (array,) = sample_inputs(boundary(None, 3, 4), {}).values()
    assert array.shape == (1, 3, 4)
    assert array.dtype == np.float32


def test_the_same_seed_gives_the_same_tensors() -> None:
    first, again, other = (sample_inputs(boundary(2, 3), {}, seed)["x"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_whole_numbers_are_valid_as_indices_and_masks(dtype: str) -> None:
    array = sample_inputs(boundary(100, dtype=dtype), {})["x"]
    assert array.dtype == np.dtype(dtype)
    assert set(array.tolist()) <= {0, 1}


def test_other_free_axes_have_to_be_given() -> None:
    with pytest.raises(SpecError, match=r"--shape x=1x3x\?x\?"):
        sample_inputs(boundary(None, 3, None, None), {})
    assert sample_inputs(boundary(None, 3, None, None), {"x": (2, 3, 5, 7)})["x"].shape == (2, 3, 5, 7)


@pytest.mark.parametrize("shape", [(1, 3), (1, 4, 5), (1, 3, 5, 1)])
def test_a_shape_that_is_not_the_models_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"the model declares \?x3x\?"):
        sample_inputs(boundary(None, 3, None), {"x": shape})


def test_a_shape_for_no_input_names_the_inputs() -> None:
    with pytest.raises(SpecError, match="inputs are x"):
        sample_inputs(boundary(1), {"y": (1,)})


def test_more_than_a_frame_is_never_allocated() -> None:
    with pytest.raises(FrameTooLargeError):
        sample_inputs(boundary(None, None), {"x": (1_000_000_000, 1_000_000_000)})


def test_shapes_are_read_as_people_write_them() -> None:
    assert parse_shapes(["x=1x3x224x224", "a=b=2×5"]) == {"x": (1, 3, 224, 224), "a=b": (2, 5)}
    assert parse_shapes([]) == {}


@pytest.mark.parametrize(
    "text", ["", "x", "x=", "=1x2", "x=1x", "x=1xx2", "x=-1", "x=1x0", "x=1.5", "x=1x9999999999"]
)
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="shape"):
        parse_shapes([text])


def test_two_shapes_of_one_input_are_refused() -> None:
    with pytest.raises(SettingsError, match="another already"):
        parse_shapes(["x=1", "x=2"])
