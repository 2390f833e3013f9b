"""The golden vectors in tests/golden: what this version reads from them, and that it still writes them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format

from support.codecs import CALIBRATIONS, ONE_RANGE, THREE_CHANNELS
from support.golden import CODECS, GOLDEN, make_vectors
from tercet import errors
from tercet.codecs import Calibration, CodecContext, codec_names
from tercet.wire.messages import Answer, Frame

DOCUMENT: dict[str, Any] = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))
VECTORS: dict[str, dict[str, Any]] = {vector["file"]: vector for vector in DOCUMENT["vectors"]}
GOOD = sorted(file for file, vector in VECTORS.items() if "error" not in vector)
BAD = sorted(set(VECTORS) - set(GOOD))
MADE = {f"{vector.name}.bin": vector for vector in make_vectors()}


def test_every_file_has_its_meaning_and_every_codec_its_file() -> None:
    assert {path.name for path in GOLDEN.glob("*.bin")} == set(VECTORS) == set(MADE)
    assert {spec for spec in CODECS if spec in codec_names()} == set(codec_names())


def test_calibrations_are_addressed_by_their_content() -> None:
    for address, data in DOCUMENT["calibrations"].items():
        assert Calibration.model_validate(data).sha256 == address
    assert set(DOCUMENT["calibrations"]) == {ONE_RANGE.sha256, THREE_CHANNELS.sha256}


@pytest.mark.parametrize("file", GOOD)
def test_a_golden_vector_means_what_it_meant(file: str) -> None:
    vector, sealed = VECTORS[file], (GOLDEN / file).read_bytes()
    message = (Frame if vector["kind"] == "frame" else Answer).open(sealed)
    assert json_format.MessageToDict(message.header) == vector["header"]
    if isinstance(message, Answer) and message.refusal is not None:
        assert type(message.refusal).__name__ == vector["header"]["error"]["kind"]
        return
    found = message.decode(CodecContext(CALIBRATIONS)) if isinstance(message, Frame) else message.outputs()
    assert found.keys() == vector["tensors"].keys()
    for name, expected in vector["tensors"].items():
        array = found[name]
        assert (array.dtype.name, list(array.shape)) == (expected["dtype"], expected["shape"])
        assert np.array_equal(array.reshape(-1), np.array(expected["values"], array.dtype))


@pytest.mark.parametrize("file", BAD)
def test_a_bad_golden_vector_is_refused(file: str) -> None:
    with pytest.raises(getattr(errors, VECTORS[file]["error"])):
        Frame.open((GOLDEN / file).read_bytes()).decode(CodecContext(CALIBRATIONS))


@pytest.mark.parametrize("file", sorted(file for file, vector in VECTORS.items() if vector["exact"]))
def test_the_same_input_still_gives_the_same_bytes(file: str) -> None:
    assert MADE[file].sealed == (GOLDEN / file).read_bytes()


def test_what_a_newer_version_added_survives_being_forwarded() -> None:
    sealed = (GOLDEN / "frame-newer-field.bin").read_bytes()
    assert b"new" in Frame.open(sealed).header.SerializeToString()
    assert Frame.open(sealed).seal() == sealed
