from tercet.v1 import delivery_pb2 as _delivery_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InferRequest(_message.Message):
    __slots__ = ("frame",)
    FRAME_FIELD_NUMBER: _ClassVar[int]
    frame: bytes
    def __init__(self, frame: _Optional[bytes] = ...) -> None: ...

class InferResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: bytes
    def __init__(self, answer: _Optional[bytes] = ...) -> None: ...

class InferManyRequest(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, frames: _Optional[_Iterable[bytes]] = ...) -> None: ...

class InferManyResponse(_message.Message):
    __slots__ = ("answers",)
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    answers: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, answers: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ServedModel(_message.Message):
    __slots__ = ("model", "plans")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    model: str
    plans: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., plans: _Optional[_Iterable[str]] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("version", "max_frame_bytes", "models")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    version: str
    max_frame_bytes: int
    models: _containers.RepeatedCompositeFieldContainer[ServedModel]
    def __init__(self, version: _Optional[str] = ..., max_frame_bytes: _Optional[int] = ..., models: _Optional[_Iterable[_Union[ServedModel, _Mapping]]] = ...) -> None: ...

class LinkBelief(_message.Message):
    __slots__ = ("goodput_mbps", "round_trip_ms", "spread_ms", "loss")
    GOODPUT_MBPS_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIP_MS_FIELD_NUMBER: _ClassVar[int]
    SPREAD_MS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    goodput_mbps: float
    round_trip_ms: float
    spread_ms: float
    loss: float
    def __init__(self, goodput_mbps: _Optional[float] = ..., round_trip_ms: _Optional[float] = ..., spread_ms: _Optional[float] = ..., loss: _Optional[float] = ...) -> None: ...

class ReplanRequest(_message.Message):
    __slots__ = ("model", "node", "deadline_ms", "device_pace", "edge_pace", "cloud_pace", "device_edge", "edge_cloud", "ratio", "device_segments", "edge_segments")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_PACE_FIELD_NUMBER: _ClassVar[int]
    EDGE_PACE_FIELD_NUMBER: _ClassVar[int]
    CLOUD_PACE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_EDGE_FIELD_NUMBER: _ClassVar[int]
    EDGE_CLOUD_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    DEVICE_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    EDGE_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    node: str
    deadline_ms: int
    device_pace: float
    edge_pace: float
    cloud_pace: float
    device_edge: LinkBelief
    edge_cloud: LinkBelief
    ratio: float
    device_segments: int
    edge_segments: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, model: _Optional[str] = ..., node: _Optional[str] = ..., deadline_ms: _Optional[int] = ..., device_pace: _Optional[float] = ..., edge_pace: _Optional[float] = ..., cloud_pace: _Optional[float] = ..., device_edge: _Optional[_Union[LinkBelief, _Mapping]] = ..., edge_cloud: _Optional[_Union[LinkBelief, _Mapping]] = ..., ratio: _Optional[float] = ..., device_segments: _Optional[int] = ..., edge_segments: _Optional[_Iterable[int]] = ...) -> None: ...

class ReplanResponse(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: bytes
    def __init__(self, answer: _Optional[bytes] = ...) -> None: ...
