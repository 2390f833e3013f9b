"""Frames and answers as the tiers handle them: a protobuf header and the payloads it describes.

Headers keep fields of newer versions when they are forwarded. Tensors are decoded only by the
tier that computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import DecodeError

from tercet import errors
from tercet.codecs import BARE, CodecContext
from tercet.codecs.codec import Array, Buffer
from tercet.errors import InvariantError, TercetError, UnavailableError, WireFormatError
from tercet.limits import MAX_NAME_CHARS
from tercet.printable import printable
from tercet.v1 import frame_pb2 as pb
from tercet.wire.sealing import ANSWER_MAGIC, FRAME_MAGIC, seal, split_payloads, unseal
from tercet.wire.tensors import Bind, as_it_is, check_headers, decode_tensors, encode_tensors

MAX_MESSAGE_CHARS = 2000
MAX_RETRY_AFTER_S = 24 * 3600


@dataclass(frozen=True)
class Frame:
    """One frame: what `header` says, and one payload per `header.tensors`."""

    header: pb.FrameHeader
    payloads: list[Buffer] = field(repr=False)

    def seal(self) -> bytes:
        """Raises FrameTooLargeError; nothing else, for headers that `encode` or `open` gave."""
        return seal(FRAME_MAGIC, self.header.SerializeToString(), self.payloads)

    def decode(self, context: CodecContext = BARE, bind: Bind = as_it_is) -> dict[str, Array]:
        """The frame's tensors by name; `context` has what its codecs need.

        A delta frame needs the references that `tercet.wire.streams` holds and brings in by `bind`.
        """
        views = [memoryview(payload) for payload in self.payloads]
        return decode_tensors(self.header.tensors, views, context, bind)

    @classmethod
    def open(cls, sealed: Buffer) -> Frame:
        """Check and open sealed bytes; payloads are views into them.

        Raises WireFormatError, FrameTooLargeError, TensorContractError: see `unseal` and `check_headers`.
        """
        header_bytes, area = unseal(FRAME_MAGIC, sealed)
        header = _parse(pb.FrameHeader(), header_bytes)
        # All but the last come back in the answer.
        _check_lengths(header.model, header.plan, header.node, header.traceparent, header.cascade)
        check_headers(header.tensors)
        return cls(header, list(split_payloads(area, [tensor.payload_bytes for tensor in header.tensors])))

    @classmethod
    def encode(
        cls,
        header: pb.FrameHeader,
        tensors: Mapping[str, Array],
        codec_spec: str,
        context: CodecContext = BARE,
        bind: Bind = as_it_is,
    ) -> Frame:
        """A frame of `tensors`; `header.tensors` is replaced. `context` has what the codec needs."""
        headers, payloads = encode_tensors(tensors, codec_spec, context, bind)
        del header.tensors[:]
        header.tensors.extend(headers)
        return cls(header, payloads)


@dataclass(frozen=True)
class Answer:
    """The answer to one frame: outputs or an error, and always the route."""

    header: pb.AnswerHeader
    payloads: list[Buffer] = field(default_factory=list, repr=False)

    def seal(self) -> bytes:
        return seal(ANSWER_MAGIC, self.header.SerializeToString(), self.payloads)

    @property
    def refusal(self) -> TercetError | None:
        """The error that the answer carries, if it does."""
        return error_from_detail(self.header.error) if self.header.HasField("error") else None

    def outputs(self) -> dict[str, Array]:
        """The model's outputs by name. Raises the error that the answer carries, if it does."""
        if refusal := self.refusal:
            raise refusal
        return decode_tensors(self.header.tensors, [memoryview(payload) for payload in self.payloads])

    @classmethod
    def open(cls, sealed: Buffer) -> Answer:
        """Check and open sealed bytes; see `Frame.open`."""
        header_bytes, area = unseal(ANSWER_MAGIC, sealed)
        header = _parse(pb.AnswerHeader(), header_bytes)
        check_headers(header.tensors)
        return cls(header, list(split_payloads(area, [tensor.payload_bytes for tensor in header.tensors])))

    @classmethod
    def of_outputs(cls, frame: pb.FrameHeader, outputs: Mapping[str, Array]) -> Answer:
        """A successful answer to `frame`; outputs cross as raw."""
        headers, payloads = encode_tensors(outputs, "raw")
        return cls(_answer_header(frame, tensors=headers), payloads)

    @classmethod
    def of_error(cls, frame: pb.FrameHeader, error: BaseException) -> Answer:
        """An answer that says why there is none. Foreign errors show only their class: texts may leak."""
        return cls(_answer_header(frame, error=detail_from_error(error)))


def _answer_header(
    frame: pb.FrameHeader,
    *,
    tensors: list[pb.TensorHeader] | None = None,
    error: pb.ErrorDetail | None = None,
) -> pb.AnswerHeader:
    return pb.AnswerHeader(
        model=frame.model,
        plan=frame.plan,
        node=frame.node,
        sequence=frame.sequence,
        tensors=tensors,
        error=error,
    )


_Header = TypeVar("_Header", pb.FrameHeader, pb.AnswerHeader)


def _parse(message: _Header, data: memoryview) -> _Header:
    try:
        message.ParseFromString(bytes(data))
    except DecodeError as error:
        raise WireFormatError("the header is not a protobuf message of this kind") from error
    return message


def _check_lengths(*names: str) -> None:
    if any(len(name) > MAX_NAME_CHARS for name in names):
        raise WireFormatError(f"the header has a name of more than {MAX_NAME_CHARS} characters")


def detail_from_error(error: BaseException) -> pb.ErrorDetail:
    """What an answer says of an error: one short line, because it may quote what a peer sent."""
    if not isinstance(error, TercetError):
        return pb.ErrorDetail(kind=InvariantError.__name__, message=f"internal error: {type(error).__name__}")
    retry_after_s = error.retry_after_s if isinstance(error, UnavailableError) else None
    return pb.ErrorDetail(
        kind=type(error).__name__,
        message=printable(str(error), MAX_MESSAGE_CHARS),
        retry_after_ms=round(min(max(retry_after_s or 0, 0), MAX_RETRY_AFTER_S) * 1000),
    )


def error_from_detail(detail: pb.ErrorDetail) -> TercetError:
    """The error a peer reported, as our class; an unknown kind from a newer peer is a plain TercetError."""
    kind = getattr(errors, detail.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, TercetError)):
        return TercetError(printable(f"{detail.kind}: {detail.message}", MAX_MESSAGE_CHARS))
    message = printable(detail.message, MAX_MESSAGE_CHARS)
    if issubclass(kind, UnavailableError):
        return kind(message, retry_after_s=detail.retry_after_ms / 1000 or None)
    return kind(message)
