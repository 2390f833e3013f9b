"""One table from error class to exit status, gRPC status, HTTP status and MQTT 5 reason code."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tercet import errors
from tercet.errors import TercetError


@dataclass(frozen=True)
class Codes:
    """How one error class leaves the process.

    `exit_status` follows sysexits.h; `grpc` is a canonical status name; `mqtt` an MQTT 5 reason code.
    """

    exit_status: int
    grpc: str
    http: int
    mqtt: int


CODES: dict[type[TercetError], Codes] = {
    errors.TercetError: Codes(os.EX_SOFTWARE, "UNKNOWN", 500, 0x80),
    errors.ContractError: Codes(os.EX_USAGE, "INVALID_ARGUMENT", 400, 0x83),
    errors.WireFormatError: Codes(os.EX_PROTOCOL, "INVALID_ARGUMENT", 400, 0x99),
    errors.FrameTooLargeError: Codes(os.EX_DATAERR, "OUT_OF_RANGE", 413, 0x95),
    errors.TensorContractError: Codes(os.EX_DATAERR, "INVALID_ARGUMENT", 422, 0x99),
    errors.SpecError: Codes(os.EX_DATAERR, "INVALID_ARGUMENT", 422, 0x83),
    errors.InfeasibleError: Codes(os.EX_DATAERR, "FAILED_PRECONDITION", 409, 0x83),
    errors.NotFoundError: Codes(os.EX_NOINPUT, "NOT_FOUND", 404, 0x83),
    errors.IntegrityError: Codes(os.EX_DATAERR, "DATA_LOSS", 422, 0x83),
    errors.InputError: Codes(os.EX_NOINPUT, "INVALID_ARGUMENT", 422, 0x99),
    errors.PoisonError: Codes(os.EX_DATAERR, "FAILED_PRECONDITION", 422, 0x83),
    errors.MissingExtraError: Codes(os.EX_CONFIG, "UNIMPLEMENTED", 501, 0x83),
    errors.SettingsError: Codes(os.EX_CONFIG, "FAILED_PRECONDITION", 400, 0x83),
    errors.UnavailableError: Codes(os.EX_UNAVAILABLE, "UNAVAILABLE", 503, 0x88),
    errors.LinkDownError: Codes(os.EX_UNAVAILABLE, "UNAVAILABLE", 503, 0x88),
    errors.OverloadedError: Codes(os.EX_TEMPFAIL, "RESOURCE_EXHAUSTED", 429, 0x97),
    errors.DeadlineError: Codes(os.EX_TEMPFAIL, "DEADLINE_EXCEEDED", 504, 0x88),
    errors.StaleReferenceError: Codes(os.EX_TEMPFAIL, "UNAVAILABLE", 503, 0x88),
    errors.PortBusyError: Codes(os.EX_UNAVAILABLE, "UNAVAILABLE", 503, 0x88),
    errors.InvariantError: Codes(os.EX_SOFTWARE, "INTERNAL", 500, 0x83),
}


def codes_of(error: BaseException) -> Codes:
    """The codes of the nearest class in the error's ancestry; foreign errors are our bugs."""
    for ancestor in type(error).__mro__:
        if ancestor in CODES:
            return CODES[ancestor]
    return CODES[errors.InvariantError]
