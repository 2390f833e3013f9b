"""Frames and answers: what they carry arrives, newer fields survive, and refusals always fit into an answer."""

from __future__ import annotations

import numpy as np
import pytest

from tercet.codecs.codec import Array
from tercet.errors import (
    InputError,
    OverloadedError,
    SpecError,
    TercetError,
    UnavailableError,
    WireFormatError,
)
from tercet.limits import MAX_NAME_CHARS
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import (
    MAX_MESSAGE_CHARS,
    Answer,
    Frame,
    detail_from_error,
    error_from_detail,
)
from tercet.wire.sealing import ANSWER_MAGIC, FRAME_MAGIC, seal

TENSORS: dict[str, Array] = {
    "x": np.arange(12, dtype=np.float32).reshape(1, 3, 4),
    "ids": np.array([1, 2], np.int64),
}
# Field 1000, length-delimited: what a newer version might add.
NEWER_FIELD = b"\xc2\x3e\x05later"


def header() -> pb.FrameHeader:
    return pb.FrameHeader(
        model="m@012345678901",
        plan="p",
        boundary=2,
        delivery=pb.DELIVERY_CLASS_REALTIME,
        node="cam-1",
        sequence=2**63,
        deadline_ms=250,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


@pytest.mark.parametrize("sealed_as", [bytes, bytearray, memoryview])
def test_a_frame_arrives_whole(sealed_as: type) -> None:
    sent = Frame.encode(header(), TENSORS, "raw")
    arrived = Frame.open(sealed_as(sent.seal()))
    assert arrived.header == sent.header
    decoded = arrived.decode()
    assert list(decoded) == list(TENSORS)
    assert all(np.array_equal(decoded[name], array) for name, array in TENSORS.items())


def test_opening_copies_no_payload() -> None:
    sealed = Frame.encode(header(), TENSORS, "raw").seal()
    opened = Frame.open(sealed)
    assert all(isinstance(payload, memoryview) and payload.obj is sealed for payload in opened.payloads)
    assert opened.seal() == sealed


def test_encoding_again_replaces_the_tensors_of_the_header() -> None:
    reused = header()
    Frame.encode(reused, TENSORS, "raw")
    frame = Frame.encode(reused, {"y": TENSORS["x"]}, "int8")
    assert [tensor.name for tensor in frame.header.tensors] == ["y"]
    assert list(Frame.open(frame.seal()).decode()) == ["y"]


def test_a_frame_without_tensors_is_a_frame() -> None:
    assert Frame.open(Frame.encode(header(), {}, "raw").seal()).decode() == {}


def test_fields_of_a_newer_version_survive_forwarding() -> None:
    tensor = pb.TensorHeader(name="x", dtype=pb.DATA_TYPE_UINT8, shape=[2], codec="raw", payload_bytes=2)
    tensor.MergeFromString(NEWER_FIELD)
    message = pb.FrameHeader(node="cam-1", tensors=[tensor]).SerializeToString() + NEWER_FIELD
    forwarded = Frame.open(Frame.open(seal(FRAME_MAGIC, message, [b"ab"])).seal())
    assert forwarded.header.SerializeToString().count(NEWER_FIELD) == 2
    answer = pb.AnswerHeader(node="cam-1").SerializeToString() + NEWER_FIELD
    assert NEWER_FIELD in Answer.open(Answer.open(seal(ANSWER_MAGIC, answer, [])).seal()).seal()


def test_a_newer_codec_can_be_forwarded_and_is_refused_only_where_it_is_decoded() -> None:
    frame = Frame.encode(header(), TENSORS, "raw")
    frame.header.tensors[0].codec = "wavelet:7"
    arrived = Frame.open(frame.seal())
    assert arrived.seal() == frame.seal()
    with pytest.raises(SpecError, match="wavelet"):
        arrived.decode()


def test_an_answer_gives_its_outputs_and_names_its_frame() -> None:
    answer = Answer.open(Answer.of_outputs(header(), TENSORS).seal())
    outputs = answer.outputs()
    assert all(np.array_equal(outputs[name], array) for name, array in TENSORS.items())
    sent = header()
    named = (answer.header.model, answer.header.plan, answer.header.node, answer.header.sequence)
    assert named == (sent.model, sent.plan, sent.node, sent.sequence)


def test_outputs_that_are_not_finite_arrive_as_they_are() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    arrived = Answer.open(Answer.of_outputs(header(), {"y": odd}).seal()).outputs()["y"]
    assert arrived.tobytes() == odd.tobytes()


def test_an_answer_that_carries_an_error_raises_it() -> None:
    answer = Answer.open(Answer.of_error(header(), OverloadedError("queue full", retry_after_s=0.25)).seal())
    with pytest.raises(OverloadedError, match="queue full") as caught:
        answer.outputs()
    assert caught.value.retry_after_s == 0.25


def test_an_unknown_wait_stays_unknown() -> None:
    error = error_from_detail(detail_from_error(UnavailableError("later")))
    assert isinstance(error, UnavailableError)
    assert error.retry_after_s is None


@pytest.mark.parametrize("wait_s", [-1.0, float("inf"), 1e30])
def test_an_absurd_wait_is_still_an_answer(wait_s: float) -> None:
    detail = detail_from_error(UnavailableError("later", retry_after_s=wait_s))
    assert detail.retry_after_ms <= 24 * 3600 * 1000


def test_the_text_of_a_foreign_error_stays_at_home() -> None:
    detail = detail_from_error(KeyError("/etc/secret"))
    assert (detail.kind, detail.message) == ("InvariantError", "internal error: KeyError")


def test_an_error_of_a_newer_peer_is_a_tercet_error_that_names_its_kind() -> None:
    error = error_from_detail(pb.ErrorDetail(kind="QuotaError", message="none left"))
    assert type(error) is TercetError
    assert str(error) == "QuotaError: none left"


@pytest.mark.parametrize("kind", ["", "annotations", "__class__", "__loader__", "TercetErro\u0000r", "Exception"])
def test_a_kind_that_is_no_error_of_ours_builds_nothing_else(kind: str) -> None:
    assert type(error_from_detail(pb.ErrorDetail(kind=kind, message="m"))) is TercetError


def test_a_peers_error_text_is_one_printable_line() -> None:
    for kind in ("InputError", "LinkDownError", "NewerError"):
        error = error_from_detail(pb.ErrorDetail(kind=kind, message="a\nb\x1b[31m\u2028c" + "x" * 10**5))
        assert str(error).isprintable()
        assert len(str(error)) <= MAX_MESSAGE_CHARS


def test_a_path_that_is_not_unicode_can_be_named_in_an_answer() -> None:
    detail = detail_from_error(InputError("cannot read ph\udcf6to.jpg"))
    assert detail.message == "cannot read ph\\udcf6to.jpg"


def test_refusing_a_hostile_frame_always_fits_into_an_answer() -> None:
    """A codec name of invisible characters comes back four times as long in the text of its refusal."""
    bad = pb.FrameHeader(tensors=[pb.TensorHeader(name="\x01", dtype=1, codec="\x01" * MAX_NAME_CHARS)])  # type: ignore[arg-type]
    frame = Frame.open(seal(FRAME_MAGIC, bad.SerializeToString(), []))
    with pytest.raises(SpecError) as caught:
        frame.decode()
    answer = Answer.open(Answer.of_error(frame.header, caught.value).seal())
    assert len(answer.header.error.message) <= MAX_MESSAGE_CHARS


@pytest.mark.parametrize("field", ["model", "plan", "node", "traceparent"])
def test_a_name_without_end_is_refused(field: str) -> None:
    message = pb.FrameHeader(**{field: "n" * (MAX_NAME_CHARS + 1)})  # type: ignore[arg-type]
    with pytest.raises(WireFormatError, match="name of more than"):
        Frame.open(seal(FRAME_MAGIC, message.SerializeToString(), []))


def test_a_header_that_is_not_protobuf_or_not_utf8_is_refused() -> None:
    for garbage in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe"):
        with pytest.raises(WireFormatError, match="protobuf"):
            Frame.open(seal(FRAME_MAGIC, garbage, []))


def test_half_a_million_tiny_tensor_headers_are_refused() -> None:
    with pytest.raises(WireFormatError, match="tensors in one frame"):
        Frame.open(seal(FRAME_MAGIC, b"\x22\x00" * 500_000, []))
