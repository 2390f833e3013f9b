from tercet.v1 import frame_pb2 as _frame_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AgeSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGE_SOURCE_UNSPECIFIED: _ClassVar[AgeSource]
    AGE_SOURCE_MONOTONIC: _ClassVar[AgeSource]
    AGE_SOURCE_COMPARED_CLOCK: _ClassVar[AgeSource]
    AGE_SOURCE_BARE_CLOCK: _ClassVar[AgeSource]

class DeliveryOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_OUTCOME_UNSPECIFIED: _ClassVar[DeliveryOutcome]
    DELIVERY_OUTCOME_TAKEN: _ClassVar[DeliveryOutcome]
    DELIVERY_OUTCOME_DUPLICATE: _ClassVar[DeliveryOutcome]
    DELIVERY_OUTCOME_REFUSED: _ClassVar[DeliveryOutcome]
AGE_SOURCE_UNSPECIFIED: AgeSource
AGE_SOURCE_MONOTONIC: AgeSource
AGE_SOURCE_COMPARED_CLOCK: AgeSource
AGE_SOURCE_BARE_CLOCK: AgeSource
DELIVERY_OUTCOME_UNSPECIFIED: DeliveryOutcome
DELIVERY_OUTCOME_TAKEN: DeliveryOutcome
DELIVERY_OUTCOME_DUPLICATE: DeliveryOutcome
DELIVERY_OUTCOME_REFUSED: DeliveryOutcome

class Delivery(_message.Message):
    __slots__ = ("frame", "age_ms", "age_source", "resends")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    AGE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    RESENDS_FIELD_NUMBER: _ClassVar[int]
    frame: bytes
    age_ms: int
    age_source: AgeSource
    resends: int
    def __init__(self, frame: _Optional[bytes] = ..., age_ms: _Optional[int] = ..., age_source: _Optional[_Union[AgeSource, str]] = ..., resends: _Optional[int] = ...) -> None: ...

class DeliverRequest(_message.Message):
    __slots__ = ("deliveries", "sent_unix_us")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    SENT_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    sent_unix_us: int
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., sent_unix_us: _Optional[int] = ...) -> None: ...

class DeliveryReceipt(_message.Message):
    __slots__ = ("node", "sequence", "outcome", "error")
    NODE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    node: str
    sequence: int
    outcome: DeliveryOutcome
    error: _frame_pb2.ErrorDetail
    def __init__(self, node: _Optional[str] = ..., sequence: _Optional[int] = ..., outcome: _Optional[_Union[DeliveryOutcome, str]] = ..., error: _Optional[_Union[_frame_pb2.ErrorDetail, _Mapping]] = ...) -> None: ...

class DeliverResponse(_message.Message):
    __slots__ = ("receipts", "holder", "sent_unix_us", "answered_unix_us")
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    SENT_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    receipts: _containers.RepeatedCompositeFieldContainer[DeliveryReceipt]
    holder: str
    sent_unix_us: int
    answered_unix_us: int
    def __init__(self, receipts: _Optional[_Iterable[_Union[DeliveryReceipt, _Mapping]]] = ..., holder: _Optional[str] = ..., sent_unix_us: _Optional[int] = ..., answered_unix_us: _Optional[int] = ...) -> None: ...
