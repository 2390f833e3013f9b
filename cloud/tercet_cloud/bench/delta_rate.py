"""What temporal delta saves on sequences of frames: bytes a frame with and without it, at which agreement."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tercet.codecs import BARE, CodecContext
from tercet.codecs.codec import Array
from tercet.inference.segment_chain import SegmentChain
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.streams import StreamReceiver, StreamSender, frame_bytes

Tensors = Mapping[str, Array]


@dataclass(frozen=True)
class StreamRate:
    """One codec over one sequence. Bytes are payloads and parameters; agreement is with the uncut fp32 model."""

    codec: str
    frames: int
    bytes_per_frame: float
    key_frames: int
    agreement: float


def measure_stream(
    chain: SegmentChain,
    boundary: int,
    sequence: Sequence[Tensors],
    expected_labels: Sequence[int],
    output: str,
    codec: str,
    context: CodecContext = BARE,
) -> StreamRate:
    """Send `sequence`, the tensors of `boundary`, through both ends of a stream; every frame is answered in turn.

    Args:
        expected_labels: the uncut model's best label of each frame.
        output: the model's output with one score a label.
    """
    sender, receiver = StreamSender(), StreamReceiver()
    sizes: list[int] = []
    last = len(chain.manifest.segments)

    async def answer(frame: Frame) -> Answer:
        sizes.append(frame_bytes(frame))
        arrived = Frame.open(frame.seal())
        outputs = chain.run(receiver.decode(arrived, context), boundary, last)
        return Answer.of_outputs(arrived.header, outputs)

    async def send_all() -> list[int]:
        labels = []
        for number, tensors in enumerate(sequence, 1):
            header = pb.FrameHeader(node="camera", model="bench", plan=codec, boundary=boundary, sequence=number)
            outgoing = sender.frame(header, tensors, codec, context)
            outputs = (await outgoing.deliver(answer)).outputs()
            labels.append(int(np.argmax(outputs[output])))
        return labels

    labels = asyncio.run(send_all())
    agreement = float(np.mean(np.array(labels) == np.array(expected_labels)))
    return StreamRate(codec, len(sizes), sum(sizes) / len(sizes), sender.key_frames, agreement)
