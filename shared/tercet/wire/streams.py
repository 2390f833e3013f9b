"""Streams of frames whose codec is a delta: both ends' memory of frames that later ones may differ from.

A stream is all frames of one device for one model, plan and boundary. Its sender holds the last frame that the
receiver is known to have decoded, because it answered it, and those still under way; its receiver holds the last
few frames it decoded. Neither trusts the other's memory: a delta frame proves by a hash which reference it means. A
receiver that has not got it (a lost frame, a restart, another edge of the shared subscription, another replica of
the cloud) says so by StaleReferenceError, and the sender sends the same frame once more, as a key frame. Several
receivers behind one address are thus correct and cost more key frames; after failures the sender rests for a while
before it tries the next delta.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tercet.codecs import BARE, CodecContext, parse_spec
from tercet.codecs.codec import Array, Codec
from tercet.codecs.delta import Exchange, StepTensor, bind_exchange, is_delta_tensor, key_interval
from tercet.errors import StaleReferenceError
from tercet.limits import MIB
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.tensors import Bind, as_it_is

# A sender refers to what was answered: with as many frames under way, that is still here.
KEPT_FRAMES = 8
DEFAULT_MAX_BYTES = 64 * MIB
# A delta frame over this share of the last key frame's bytes is worth trying as a key frame.
_WORTHWHILE = 0.7

_Key = tuple[str, ...]
_Tensors = dict[str, StepTensor]
Ask = Callable[[Frame], Awaitable[Answer]]


@dataclass
class _Sent:
    """What the sender knows of one stream."""

    acknowledged: tuple[int, _Tensors] | None = None
    under_way: OrderedDict[int, _Tensors] = field(default_factory=OrderedDict)
    since_key: int = 0
    key_bytes: int = 0
    # Frames to send as key frames before the next attempt at a delta, and how many after the next failure.
    resting: int = 0
    rest: int = 0
    # What of `size_bytes` the sender's total includes.
    counted_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        held = [*self.under_way.values(), *([self.acknowledged[1]] if self.acknowledged else [])]
        return sum(_size_bytes(tensors) for tensors in held)


class StreamSender:
    """Encodes the frames of any number of streams. For one event loop; not thread-safe.

    Args:
        max_bytes: held references, over all streams; those of the longest silent streams go first.
    """

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._streams: OrderedDict[_Key, _Sent] = OrderedDict()
        self.key_frames = self.delta_frames = self.stale = 0

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def frame(
        self,
        header: pb.FrameHeader,
        tensors: Mapping[str, Array],
        codec_spec: str,
        context: CodecContext = BARE,
    ) -> Outgoing:
        """`tensors` as a frame to deliver; for codecs without delta, that of `Frame.encode`. Errors as there."""
        interval = key_interval(parse_spec(codec_spec))

        def encode(bind: Bind = as_it_is) -> Frame:
            own_header = pb.FrameHeader()
            own_header.CopyFrom(header)
            return Frame.encode(own_header, tensors, codec_spec, context, bind)

        if interval is None:
            return Outgoing(encode())
        return _Streamed(self, (*_stream_of(header), codec_spec), encode, interval)

    def _stream(self, key: _Key) -> _Sent:
        stream = self._streams.setdefault(key, _Sent())
        self._streams.move_to_end(key)
        return stream

    def _recount(self, stream: _Sent) -> None:
        """Count what `stream` holds now, and keep to the limit."""
        self._held_bytes += stream.size_bytes - stream.counted_bytes
        stream.counted_bytes = stream.size_bytes
        while self._held_bytes > self._max_bytes:
            _, dropped = self._streams.popitem(last=False)
            self._held_bytes -= dropped.counted_bytes
            dropped.counted_bytes = 0


class Outgoing:
    """A frame to deliver."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    async def deliver(self, ask: Ask) -> Answer:
        """The answer that `ask` gets to the frame. Raises what `ask` raises."""
        return await ask(self.frame)


class _Streamed(Outgoing):
    """A frame of a stream."""

    def __init__(self, sender: StreamSender, key: _Key, encode: Callable[[Bind], Frame], interval: int) -> None:
        self._sender, self._key, self._encode, self._interval = sender, key, encode, interval
        super().__init__(self._first())

    async def deliver(self, ask: Ask) -> Answer:
        """The answer to the frame, or, if its reference was stale, to the same frame as a key frame.

        If cancelled, or if `ask` fails, the frame counts as not acknowledged.
        """
        answer = None
        try:
            answer = await ask(self.frame)
            if isinstance(answer.refusal, StaleReferenceError) and _has_delta(self.frame):
                self._learn(answer)
                answer = None
                self.frame = self._as_key()
                answer = await ask(self.frame)
        finally:
            self._learn(answer)
        return answer

    def _first(self) -> Frame:
        stream = self._sender._stream(self._key)
        stream.since_key += 1
        if stream.acknowledged is None or stream.since_key >= self._interval:
            return self._as_key()
        if stream.resting:
            stream.resting -= 1
            return self._as_key()
        sequence, tensors = stream.acknowledged
        frame, coded = self._coded({name: {sequence: tensor} for name, tensor in tensors.items()})
        if not _has_delta(frame) or frame_bytes(frame) > _WORTHWHILE * stream.key_bytes:
            key_frame, key_coded = self._coded({})
            if frame_bytes(key_frame) <= frame_bytes(frame):
                return self._sent_key(stream, key_frame, key_coded)
        self._sender.delta_frames += 1
        return self._sent(stream, frame, coded)

    def _as_key(self) -> Frame:
        return self._sent_key(self._sender._stream(self._key), *self._coded({}))

    def _coded(self, references: Mapping[str, Mapping[int, StepTensor]]) -> tuple[Frame, _Tensors]:
        exchanges: dict[str, Exchange] = {}

        def bind(name: str, codec: Codec) -> Codec:
            exchanges[name] = Exchange(references.get(name, {}))
            return bind_exchange(codec, exchanges[name])

        frame = self._encode(bind)
        return frame, _coded_tensors(exchanges)

    def _sent_key(self, stream: _Sent, frame: Frame, coded: _Tensors) -> Frame:
        stream.since_key, stream.key_bytes = 0, frame_bytes(frame)
        self._sender.key_frames += 1
        return self._sent(stream, frame, coded)

    def _sent(self, stream: _Sent, frame: Frame, coded: _Tensors) -> Frame:
        stream.under_way[frame.header.sequence] = coded
        while len(stream.under_way) > KEPT_FRAMES:
            stream.under_way.popitem(last=False)
        self._sender._recount(stream)
        return frame

    def _learn(self, answer: Answer | None) -> None:
        """Take the frame off those under way; if it was decoded, later ones may refer to it."""
        stream = self._sender._stream(self._key)
        sequence = self.frame.header.sequence
        coded = stream.under_way.pop(sequence, None)
        if answer is not None and coded is not None:
            self._learn_from(stream, answer, sequence, coded)
        self._sender._recount(stream)

    def _learn_from(self, stream: _Sent, answer: Answer, sequence: int, coded: _Tensors) -> None:
        delta = _has_delta(self.frame)
        if isinstance(answer.refusal, StaleReferenceError):
            self._sender.stale += 1
            stream.acknowledged = None
            stream.resting = stream.rest
            stream.rest = min(max(1, 2 * stream.rest), self._interval)
        elif answer.refusal is None or any(visit.decode_us for visit in answer.header.route.visits):
            if delta:
                stream.rest //= 2
            if stream.acknowledged is None or stream.acknowledged[0] < sequence:
                stream.acknowledged = sequence, coded


class StreamReceiver:
    """Decodes frames, those of streams included. Thread-safe.

    Args:
        max_bytes: held references, over all streams; those of the longest silent streams go first.
    """

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._streams: OrderedDict[_Key, OrderedDict[int, _Tensors]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def decode(self, frame: Frame, context: CodecContext = BARE) -> dict[str, Array]:
        """`frame.decode`, with the references that delta frames need.

        Raises StaleReferenceError if the frame's reference is not here, and all that `frame.decode` raises.
        """
        if not any(tensor.codec.startswith("delta:") for tensor in frame.header.tensors):
            return frame.decode(context)
        key = _stream_of(frame.header)
        with self._lock:
            known = dict(self._streams.get(key, {}))
        exchanges: dict[str, Exchange] = {}

        def bind(name: str, codec: Codec) -> Codec:
            exchanges[name] = Exchange({seq: tensors[name] for seq, tensors in known.items() if name in tensors})
            return bind_exchange(codec, exchanges[name])

        arrays = frame.decode(context, bind)
        self._keep(key, frame.header.sequence, _coded_tensors(exchanges))
        return arrays

    def _keep(self, key: _Key, sequence: int, tensors: _Tensors) -> None:
        if _size_bytes(tensors) > self._max_bytes:
            return
        with self._lock:
            stream = self._streams.setdefault(key, OrderedDict())
            self._streams.move_to_end(key)
            self._held_bytes += _size_bytes(tensors) - _size_bytes(stream.pop(sequence, {}))
            stream[sequence] = tensors
            while len(stream) > KEPT_FRAMES:
                self._held_bytes -= _size_bytes(stream.popitem(last=False)[1])
            while self._held_bytes > self._max_bytes:
                oldest = next(iter(self._streams))
                frames = self._streams[oldest]
                self._held_bytes -= _size_bytes(frames.popitem(last=False)[1])
                if not frames:
                    del self._streams[oldest]


def frame_bytes(frame: Frame) -> int:
    """Payloads and parameters."""
    return sum(len(payload) for payload in frame.payloads) + sum(
        len(tensor.parameters) for tensor in frame.header.tensors
    )


def _stream_of(header: pb.FrameHeader) -> _Key:
    return (header.node, header.model, header.plan, str(header.boundary))


def _has_delta(frame: Frame) -> bool:
    return any(
        tensor.codec.startswith("delta:") and is_delta_tensor(tensor.parameters) for tensor in frame.header.tensors
    )


def _coded_tensors(exchanges: Mapping[str, Exchange]) -> _Tensors:
    return {name: exchange.tensor for name, exchange in exchanges.items() if exchange.tensor is not None}


def _size_bytes(tensors: _Tensors) -> int:
    return sum(tensor.size_bytes for tensor in tensors.values())
