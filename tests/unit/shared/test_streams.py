"""A stream is never decoded wrongly, whatever is lost, late, doubled or restarted, and goes on by itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tercet.codecs import CodecContext, KnownCalibrations, calibrate, parse_codec
from tercet.codecs.codec import Array, Float32Array
from tercet.errors import DeadlineError, LinkDownError, OverloadedError, StaleReferenceError, TercetError
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.streams import KEPT_FRAMES, StreamReceiver, StreamSender, frame_bytes

SHAPE = (1, 3, 16, 16)
FLOAT32 = np.dtype(np.float32)


def scene(seed: int, frames: int, move: float = 0.02) -> list[Float32Array]:
    generator = np.random.default_rng(seed)
    current, found = generator.normal(0, 1, SHAPE), []
    for _ in range(frames):
        current = current + generator.normal(0, move, SHAPE)
        found.append(current.astype(np.float32))
    return found


KNOWN = KnownCalibrations()
STATIC = f"int8:static@{KNOWN.add(calibrate(scene(0, 3)))}+zstd"
CONTEXT = CodecContext(KNOWN)


def header(sequence: int, node: str = "cam-1", trace: str = "") -> pb.FrameHeader:
    return pb.FrameHeader(node=node, model="m@0", plan="p", boundary=1, sequence=sequence, traceparent=trace)


def plain(array: Float32Array, spec: str = STATIC) -> bytes:
    codec = parse_codec(spec, KNOWN)
    return codec.decode(codec.encode(array), FLOAT32, array.shape).tobytes()


def answer_by(receiver: StreamReceiver, sealed: bytes, context: CodecContext = CONTEXT) -> tuple[Answer, bytes]:
    """What a tier answers to a frame, and the bits it decoded it to."""
    frame = Frame.open(sealed)
    try:
        decoded: Array = receiver.decode(frame, context)["x"]
    except TercetError as error:
        return Answer.of_error(frame.header, error), b""
    return Answer.of_outputs(frame.header, {"y": np.zeros(1, np.float32)}), decoded.tobytes()


Ask = Callable[[Frame], Awaitable[Answer]]


def asking(receiver: StreamReceiver, seen: list[Frame] | None = None) -> Ask:
    async def ask(frame: Frame) -> Answer:
        if seen is not None:
            seen.append(frame)
        return answer_by(receiver, frame.seal())[0]

    return ask


async def send(
    sender: StreamSender, sequence: int, array: Float32Array, ask: Ask, codec: str = f"delta:30+{STATIC}"
) -> Answer:
    return await sender.frame(header(sequence), {"x": array}, codec, CONTEXT).deliver(ask)


def is_key(frame: Frame) -> bool:
    return frame.header.tensors[0].parameters[0] == 0


# --- a bad network


@dataclass
class Network:
    """Two receivers behind one address; requests wait in `waiting` and are served in any order, lost or doubled."""

    chance: random.Random
    loss: float
    expected: dict[str, bytes] = field(default_factory=dict)
    receivers: list[StreamReceiver] = field(default_factory=lambda: [StreamReceiver(), StreamReceiver()])
    waiting: list[tuple[bytes, asyncio.Future[Answer]]] = field(default_factory=list)
    served: list[bytes] = field(default_factory=list)
    decoded: int = 0
    stale: int = 0

    async def ask(self, frame: Frame) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((frame.seal(), future))
        return await future

    def serve_one(self) -> None:
        """Any request that waits: lost, served with its answer lost, or answered; old ones may come again."""
        sealed, future = self.waiting.pop(self.chance.randrange(len(self.waiting)))
        if self.served and self.chance.random() < self.loss:
            self.receive(self.chance.choice(self.served))
        if self.chance.random() < self.loss:
            future.set_exception(DeadlineError("the frame was lost"))
            return
        answer = self.receive(sealed)
        if self.chance.random() < self.loss:
            future.set_exception(DeadlineError("the answer was lost"))
        else:
            future.set_result(answer)

    def receive(self, sealed: bytes) -> Answer:
        self.served.append(sealed)
        answer, bits = answer_by(self.chance.choice(self.receivers), sealed)
        if answer.refusal is None:
            self.decoded += 1
            assert bits == self.expected[Frame.open(sealed).header.traceparent]
        else:
            assert isinstance(answer.refusal, StaleReferenceError)
            self.stale += 1
        return answer

    def restart_one(self) -> None:
        self.receivers[self.chance.randrange(len(self.receivers))] = StreamReceiver()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.1, 0.4]),
    restarts=st.sampled_from([0.0, 0.1]),
    window=st.integers(1, 12),
    receivers=st.sampled_from([1, 2]),
    interval=st.sampled_from([2, 5, 30]),
)
def test_nothing_is_decoded_wrongly_whatever_the_network_does(
    seed: int, loss: float, restarts: float, window: int, receivers: int, interval: int
) -> None:
    chance = random.Random(seed)
    network = Network(chance, loss)
    del network.receivers[receivers:]

    async def play() -> list[Answer | BaseException]:
        sender, sequence, tasks = StreamSender(), 0, []
        for number, array in enumerate(scene(seed, 40)):
            if chance.random() < restarts:
                network.restart_one()
            if chance.random() < restarts:
                # A process that starts again counts from 1 again, and may send other frames.
                sender, sequence = StreamSender(), 0
            sequence += 1
            network.expected[str(number)] = plain(array)
            outgoing = sender.frame(
                header(sequence, trace=str(number)), {"x": array}, f"delta:{interval}+{STATIC}", CONTEXT
            )
            tasks.append(asyncio.create_task(outgoing.deliver(network.ask)))
            await asyncio.sleep(0)
            while len(network.waiting) >= window:
                network.serve_one()
                await asyncio.sleep(0)
        while network.waiting:
            network.serve_one()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(play())
    for answer in answers:
        # A key frame needs no reference: what is asked twice is answered, or lost.
        assert isinstance(answer, DeadlineError) or (isinstance(answer, Answer) and answer.refusal is None)
    if loss == 0:
        assert network.decoded == len(answers)


# --- the sender


async def test_frames_are_differences_once_one_was_answered_and_key_frames_come_at_their_interval() -> None:
    sender, seen = StreamSender(), list[Frame]()
    ask = asking(StreamReceiver(), seen)
    for number, array in enumerate(scene(1, 9), 1):
        await send(sender, number, array, ask, f"delta:4+{STATIC}")
    assert [is_key(frame) for frame in seen] == [True, False, False, False] * 2 + [True]
    assert (sender.key_frames, sender.delta_frames, sender.stale) == (3, 6, 0)


async def test_as_many_frames_under_way_as_are_held_cost_no_key_frame() -> None:
    sender, receiver = StreamSender(), StreamReceiver()
    waiting: list[tuple[Frame, asyncio.Future[Answer]]] = []

    async def ask(frame: Frame) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting.append((frame, future))
        return await future

    frames = scene(12, 4 * KEPT_FRAMES)
    await send(sender, 1, frames[0], asking(receiver))
    tasks = []
    for number, array in enumerate(frames[1:], 2):
        tasks.append(asyncio.create_task(send(sender, number, array, ask, f"delta:100+{STATIC}")))
        await asyncio.sleep(0)
        if len(waiting) >= KEPT_FRAMES - 1:
            frame, future = waiting.pop(0)
            future.set_result(await asking(receiver)(frame))
    for frame, future in waiting:
        future.set_result(await asking(receiver)(frame))
    answers = await asyncio.gather(*tasks)
    assert all(answer.refusal is None for answer in answers)
    assert sender.stale == 0


async def test_an_unanswered_frame_is_never_referred_to() -> None:
    sender, receiver, seen = StreamSender(), StreamReceiver(), list[Frame]()

    async def lose(frame: Frame) -> Answer:
        raise LinkDownError("cable cut")

    frames = scene(2, 4)
    with pytest.raises(LinkDownError):
        await send(sender, 1, frames[0], lose)
    await send(sender, 2, frames[1], asking(receiver, seen))
    with pytest.raises(LinkDownError):
        await send(sender, 3, frames[2], lose)
    await send(sender, 4, frames[3], asking(receiver, seen))
    assert [is_key(frame) for frame in seen] == [True, False]


async def test_a_refusal_after_decoding_acknowledges_and_one_before_does_not() -> None:
    async def refuse(frame: Frame) -> Answer:
        return Answer.of_error(frame.header, OverloadedError("full"))

    async def decode_and_refuse(frame: Frame) -> Answer:
        receiver.decode(frame, CONTEXT)
        answer = await refuse(frame)
        answer.header.route.visits.add(decode_us=1)
        return answer

    frames, receiver, seen = scene(3, 3), StreamReceiver(), list[Frame]()
    sender = StreamSender()
    assert isinstance((await send(sender, 1, frames[0], refuse)).refusal, OverloadedError)
    assert isinstance((await send(sender, 2, frames[1], decode_and_refuse)).refusal, OverloadedError)
    assert sender.key_frames == 2
    assert (await send(sender, 3, frames[2], asking(receiver, seen))).refusal is None
    assert not is_key(seen[0])


async def test_a_receiver_that_starts_again_costs_one_more_round_trip_and_nothing_else() -> None:
    sender, receivers, seen = StreamSender(), [StreamReceiver()], list[Frame]()

    async def ask(frame: Frame) -> Answer:
        return await asking(receivers[-1], seen)(frame)

    for number, array in enumerate(scene(4, 6), 1):
        if number == 4:
            receivers.append(StreamReceiver())
        assert (await send(sender, number, array, ask)).refusal is None
    assert [is_key(frame) for frame in seen] == [True, False, False, False, True, False, False] or sender.stale == 1
    assert sender.stale == 1
    assert [frame.header.sequence for frame in seen] == [1, 2, 3, 4, 4, 5, 6]


async def test_a_frame_is_sent_again_once_and_then_the_refusal_stands() -> None:
    async def stale(frame: Frame) -> Answer:
        sent.append(frame)
        return Answer.of_error(frame.header, StaleReferenceError("gone"))

    sender, sent, frames = StreamSender(), list[Frame](), scene(5, 2)
    await send(sender, 1, frames[0], asking(StreamReceiver()))
    answer = await send(sender, 2, frames[1], stale)
    assert isinstance(answer.refusal, StaleReferenceError)
    assert [is_key(frame) for frame in sent] == [False, True]


async def test_with_two_receivers_in_turn_attempts_become_rarer() -> None:
    sender, receivers, seen = StreamSender(), [StreamReceiver(), StreamReceiver()], list[Frame]()

    async def ask(frame: Frame) -> Answer:
        return await asking(receivers[len(seen) % 2], seen)(frame)

    for number, array in enumerate(scene(6, 120), 1):
        assert (await send(sender, number, array, ask)).refusal is None
    assert len(seen) - 120 == sender.stale < 30


async def test_a_difference_that_saves_nothing_is_sent_as_a_key_frame() -> None:
    sender, seen, ask = StreamSender(), list[Frame](), StreamReceiver()
    for number in range(1, 6):
        (array,) = scene(100 + number, 1)
        await send(sender, number, array, asking(ask, seen), "delta:30+int4:sym+zstd")
        key = parse_codec("delta:30+int4:sym+zstd").encode(array)
        assert frame_bytes(seen[-1]) <= key.size_bytes


async def test_cancelled_deliveries_leave_the_stream_usable() -> None:
    sender, receiver, frames = StreamSender(), StreamReceiver(), scene(7, 3)
    await send(sender, 1, frames[0], asking(receiver))
    started = asyncio.Event()

    async def hang(frame: Frame) -> Answer:
        started.set()
        return await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(send(sender, 2, frames[1], hang))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await send(sender, 3, frames[2], asking(receiver))).refusal is None
    assert sender.delta_frames == 2


async def test_what_a_sender_holds_is_bounded() -> None:
    each = int(np.prod(SHAPE))
    sender, receiver = StreamSender(max_bytes=10 * each), StreamReceiver()
    frame = scene(8, 1)[0]
    for device in range(40):
        outgoing = sender.frame(header(1, f"cam-{device}"), {"x": frame}, f"delta:30+{STATIC}", CONTEXT)
        await outgoing.deliver(asking(receiver))
    assert sender.held_bytes <= 10 * each
    # The last ones are still known.
    await sender.frame(header(2, "cam-39"), {"x": frame}, f"delta:30+{STATIC}", CONTEXT).deliver(asking(receiver))
    assert sender.delta_frames == 1


async def test_other_codecs_pass_untouched() -> None:
    frame = scene(9, 1)[0]
    sender = StreamSender()
    sent = sender.frame(header(1), {"x": frame}, "int8+zstd").frame
    assert sent.seal() == Frame.encode(header(1), {"x": frame}, "int8+zstd").seal()
    assert sender.held_bytes == 0
    decoded = StreamReceiver().decode(sent)["x"]
    assert decoded.tobytes() == plain(frame, "int8+zstd")


async def test_only_the_float_tensors_of_a_frame_are_differences() -> None:
    sender, receiver = StreamSender(), StreamReceiver()
    for number, array in enumerate(scene(10, 3), 1):
        tensors = {"x": array, "note": np.arange(number, dtype=np.int64), "z": array[:, :, :number]}
        frame = sender.frame(header(number), tensors, "delta:30+int8+zstd")
        answer = await frame.deliver(asking(receiver))
        assert answer.refusal is None
        found = receiver.decode(frame.frame)
        assert (found["note"] == tensors["note"]).all()
        assert np.abs(found["z"] - tensors["z"]).max() < 0.1


# --- the receiver


def key_frame(sequence: int, node: str = "cam-1", size: int = 36) -> Frame:
    array = np.random.default_rng(sequence).normal(0, 1, (1, 1, size)).astype(np.float32)
    return StreamSender().frame(header(sequence, node), {"x": array}, "delta:30+int8").frame


def test_a_receiver_holds_the_last_few_frames_of_a_stream() -> None:
    receiver = StreamReceiver()
    for sequence in range(1, 50):
        receiver.decode(key_frame(sequence))
    assert receiver.held_bytes == KEPT_FRAMES * (36 + 5)


def test_what_a_receiver_holds_is_bounded_over_all_streams() -> None:
    receiver = StreamReceiver(max_bytes=1000)
    for device in range(100):
        receiver.decode(key_frame(1, f"cam-{device}"))
        receiver.decode(key_frame(2, f"cam-{device}"))
        assert receiver.held_bytes <= 1000
    receiver.decode(key_frame(1, "cam-large", size=2000))
    assert 0 < receiver.held_bytes <= 1000


def test_the_same_frame_twice_is_held_once() -> None:
    receiver = StreamReceiver()
    for _ in range(3):
        receiver.decode(key_frame(1))
    assert receiver.held_bytes == 36 + 5


def test_a_frame_that_cannot_be_decoded_leaves_nothing_behind() -> None:
    receiver, frame = StreamReceiver(), key_frame(1)
    frame.header.tensors[0].parameters = b"\0" + bytes(5)
    with pytest.raises(TercetError):
        receiver.decode(frame)
    assert receiver.held_bytes == 0


async def test_one_devices_frames_are_no_reference_for_anothers() -> None:
    sender, receiver, frames = StreamSender(), StreamReceiver(), scene(11, 2)
    await send(sender, 1, frames[0], asking(receiver))
    frame = sender.frame(header(2), {"x": frames[1]}, f"delta:30+{STATIC}", CONTEXT).frame
    for change in ({"node": "cam-2"}, {"model": "m@1"}, {"plan": "q"}, {"boundary": 2}):
        other = Frame.open(frame.seal())
        other.header.MergeFrom(pb.FrameHeader(**change))  # type: ignore[arg-type]
        with pytest.raises(StaleReferenceError):
            receiver.decode(other, CONTEXT)
    assert receiver.decode(frame, CONTEXT)["x"].tobytes() == plain(frames[1])
