"""The one error hierarchy of Tercet; `error_codes` maps it to exit, gRPC, HTTP and MQTT codes.

TercetError
├── ContractError           the caller must change something: never retry
│   ├── WireFormatError     bytes that are not a frame or an answer
│   ├── FrameTooLargeError  over the frame limit, which the message names
│   ├── TensorContractError wrong name, dtype, shape or value of a tensor
│   ├── InfeasibleError     constraints that nothing can meet, with how much they would have to be relaxed
│   ├── SpecError           a codec, boundary, plan, card or other document that says something impossible
│   ├── NotFoundError       a model, plan, segment or file that is not there
│   ├── IntegrityError      content whose hash is not its name, or a file that is damaged
│   ├── InputError          an input that cannot be read, such as a broken image
│   ├── PoisonError         a frame that ended the process that computed it, as often as it is tried
│   ├── MissingExtraError   a command whose packages are not installed
│   └── SettingsError       an unknown or impossible setting
├── UnavailableError        retry, after `retry_after_s` if given
│   ├── LinkDownError       the next tier or the broker cannot be reached
│   ├── OverloadedError     a bounded queue is full
│   ├── DeadlineError       no answer in time
│   ├── StaleReferenceError a frame that differs from one the receiver does not hold: send a key frame
│   └── PortBusyError       somebody else listens on the port
└── InvariantError          our own bug
"""

from __future__ import annotations


class TercetError(Exception):
    """Base of every error Tercet raises on purpose. Its text is one line that says what to do next."""


class ContractError(TercetError):
    """The request, input or configuration is wrong; the same call will fail again."""


class WireFormatError(ContractError):
    """Bytes that are not a sealed frame or answer: truncated, garbled, or of another version."""


class FrameTooLargeError(ContractError):
    """More bytes than one frame may hold."""


class TensorContractError(ContractError):
    """A tensor whose name, dtype, shape or values are not what the receiver can take."""


class SpecError(ContractError):
    """A specification (codec, boundary, plan, model card) that is malformed or impossible."""


class InfeasibleError(ContractError):
    """Constraints that no plan meets; the text names the binding ones and by how much to relax each."""


class NotFoundError(ContractError):
    """Something named does not exist here."""


class IntegrityError(ContractError):
    """Stored content that is not what was stored: its sha256 is not its address, or its file is damaged."""


class InputError(ContractError):
    """An input that cannot be read or is not what the model takes."""


class PoisonError(ContractError):
    """A frame that ended the process which computed it, as often as it may be tried: it has had all its tries."""


class MissingExtraError(ContractError):
    """A command needs packages of an extra that is not installed."""


class SettingsError(ContractError):
    """An unknown setting, or a value that is impossible."""


class UnavailableError(TercetError):
    """Nothing is wrong with the request; try again.

    Args:
        message: one line.
        retry_after_s: seconds after which a retry makes sense; None if unknown.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LinkDownError(UnavailableError):
    """The next tier, or the broker before it, cannot be reached."""


class OverloadedError(UnavailableError):
    """A bounded queue is full; the work was refused, not dropped later."""


class DeadlineError(UnavailableError):
    """No answer within the frame's deadline."""


class StaleReferenceError(UnavailableError):
    """A delta frame whose reference is not held here, or is another: the same frame as a key frame will do."""


class PortBusyError(UnavailableError):
    """A port that was asked for is taken."""


class InvariantError(TercetError):
    """Something that can't happen did: a bug in Tercet, please report it."""
