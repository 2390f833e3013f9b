from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]
    DATA_TYPE_FLOAT16: _ClassVar[DataType]
    DATA_TYPE_FLOAT64: _ClassVar[DataType]
    DATA_TYPE_INT8: _ClassVar[DataType]
    DATA_TYPE_UINT8: _ClassVar[DataType]
    DATA_TYPE_INT32: _ClassVar[DataType]
    DATA_TYPE_INT64: _ClassVar[DataType]
    DATA_TYPE_BOOL: _ClassVar[DataType]

class DeliveryClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_CLASS_UNSPECIFIED: _ClassVar[DeliveryClass]
    DELIVERY_CLASS_REALTIME: _ClassVar[DeliveryClass]
    DELIVERY_CLASS_DURABLE: _ClassVar[DeliveryClass]

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_DEVICE: _ClassVar[Tier]
    TIER_EDGE: _ClassVar[Tier]
    TIER_CLOUD: _ClassVar[Tier]
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_FLOAT32: DataType
DATA_TYPE_FLOAT16: DataType
DATA_TYPE_FLOAT64: DataType
DATA_TYPE_INT8: DataType
DATA_TYPE_UINT8: DataType
DATA_TYPE_INT32: DataType
DATA_TYPE_INT64: DataType
DATA_TYPE_BOOL: DataType
DELIVERY_CLASS_UNSPECIFIED: DeliveryClass
DELIVERY_CLASS_REALTIME: DeliveryClass
DELIVERY_CLASS_DURABLE: DeliveryClass
TIER_UNSPECIFIED: Tier
TIER_DEVICE: Tier
TIER_EDGE: Tier
TIER_CLOUD: Tier

class TensorHeader(_message.Message):
    __slots__ = ("name", "dtype", "shape", "codec", "parameters", "payload_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    codec: str
    parameters: bytes
    payload_bytes: int
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., codec: _Optional[str] = ..., parameters: _Optional[bytes] = ..., payload_bytes: _Optional[int] = ...) -> None: ...

class PlanSpec(_message.Message):
    __slots__ = ("device_until", "edge_until", "device_edge", "edge_cloud")
    DEVICE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    EDGE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    DEVICE_EDGE_FIELD_NUMBER: _ClassVar[int]
    EDGE_CLOUD_FIELD_NUMBER: _ClassVar[int]
    device_until: int
    edge_until: int
    device_edge: str
    edge_cloud: str
    def __init__(self, device_until: _Optional[int] = ..., edge_until: _Optional[int] = ..., device_edge: _Optional[str] = ..., edge_cloud: _Optional[str] = ...) -> None: ...

class FrameHeader(_message.Message):
    __slots__ = ("model", "plan", "boundary", "tensors", "delivery", "node", "sequence", "deadline_ms", "traceparent", "probe", "cascade", "stage", "audit", "plan_spec")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    PLAN_SPEC_FIELD_NUMBER: _ClassVar[int]
    model: str
    plan: str
    boundary: int
    tensors: _containers.RepeatedCompositeFieldContainer[TensorHeader]
    delivery: DeliveryClass
    node: str
    sequence: int
    deadline_ms: int
    traceparent: str
    probe: bool
    cascade: str
    stage: int
    audit: bool
    plan_spec: PlanSpec
    def __init__(self, model: _Optional[str] = ..., plan: _Optional[str] = ..., boundary: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[TensorHeader, _Mapping]]] = ..., delivery: _Optional[_Union[DeliveryClass, str]] = ..., node: _Optional[str] = ..., sequence: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., traceparent: _Optional[str] = ..., probe: _Optional[bool] = ..., cascade: _Optional[str] = ..., stage: _Optional[int] = ..., audit: _Optional[bool] = ..., plan_spec: _Optional[_Union[PlanSpec, _Mapping]] = ...) -> None: ...

class LinkReport(_message.Message):
    __slots__ = ("goodput_kbps", "round_trip_us", "loss_per_mille", "age_ms", "down")
    GOODPUT_KBPS_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIP_US_FIELD_NUMBER: _ClassVar[int]
    LOSS_PER_MILLE_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    DOWN_FIELD_NUMBER: _ClassVar[int]
    goodput_kbps: int
    round_trip_us: int
    loss_per_mille: int
    age_ms: int
    down: bool
    def __init__(self, goodput_kbps: _Optional[int] = ..., round_trip_us: _Optional[int] = ..., loss_per_mille: _Optional[int] = ..., age_ms: _Optional[int] = ..., down: _Optional[bool] = ...) -> None: ...

class ExitVerdict(_message.Message):
    __slots__ = ("stage", "score", "threshold", "exited", "audited")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    EXITED_FIELD_NUMBER: _ClassVar[int]
    AUDITED_FIELD_NUMBER: _ClassVar[int]
    stage: int
    score: float
    threshold: float
    exited: bool
    audited: bool
    def __init__(self, stage: _Optional[int] = ..., score: _Optional[float] = ..., threshold: _Optional[float] = ..., exited: _Optional[bool] = ..., audited: _Optional[bool] = ...) -> None: ...

class Visit(_message.Message):
    __slots__ = ("tier", "node", "from_boundary", "to_boundary", "received_bytes", "queue_us", "decode_us", "compute_us", "encode_us", "total_us", "batch_size", "beyond_us", "emulated_slowdown", "expected_queue_us", "uplink", "verdict")
    TIER_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    FROM_BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    TO_BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    DECODE_US_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_US_FIELD_NUMBER: _ClassVar[int]
    ENCODE_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    BEYOND_US_FIELD_NUMBER: _ClassVar[int]
    EMULATED_SLOWDOWN_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    UPLINK_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    tier: Tier
    node: str
    from_boundary: int
    to_boundary: int
    received_bytes: int
    queue_us: int
    decode_us: int
    compute_us: int
    encode_us: int
    total_us: int
    batch_size: int
    beyond_us: int
    emulated_slowdown: float
    expected_queue_us: int
    uplink: LinkReport
    verdict: ExitVerdict
    def __init__(self, tier: _Optional[_Union[Tier, str]] = ..., node: _Optional[str] = ..., from_boundary: _Optional[int] = ..., to_boundary: _Optional[int] = ..., received_bytes: _Optional[int] = ..., queue_us: _Optional[int] = ..., decode_us: _Optional[int] = ..., compute_us: _Optional[int] = ..., encode_us: _Optional[int] = ..., total_us: _Optional[int] = ..., batch_size: _Optional[int] = ..., beyond_us: _Optional[int] = ..., emulated_slowdown: _Optional[float] = ..., expected_queue_us: _Optional[int] = ..., uplink: _Optional[_Union[LinkReport, _Mapping]] = ..., verdict: _Optional[_Union[ExitVerdict, _Mapping]] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("visits", "degraded", "reason")
    VISITS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    visits: _containers.RepeatedCompositeFieldContainer[Visit]
    degraded: bool
    reason: str
    def __init__(self, visits: _Optional[_Iterable[_Union[Visit, _Mapping]]] = ..., degraded: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ("kind", "message", "retry_after_ms")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    message: str
    retry_after_ms: int
    def __init__(self, kind: _Optional[str] = ..., message: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class AnswerHeader(_message.Message):
    __slots__ = ("model", "plan", "node", "sequence", "tensors", "route", "error")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    model: str
    plan: str
    node: str
    sequence: int
    tensors: _containers.RepeatedCompositeFieldContainer[TensorHeader]
    route: Route
    error: ErrorDetail
    def __init__(self, model: _Optional[str] = ..., plan: _Optional[str] = ..., node: _Optional[str] = ..., sequence: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[TensorHeader, _Mapping]]] = ..., route: _Optional[_Union[Route, _Mapping]] = ..., error: _Optional[_Union[ErrorDetail, _Mapping]] = ...) -> None: ...
