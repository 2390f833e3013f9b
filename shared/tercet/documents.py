"""Documents people and tools write (cards, manifests, deployments): strict models, YAML in, one-line errors out."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tercet.errors import NotFoundError, SpecError


class Document(BaseModel):
    """Base of every document: unknown keys are refused, values don't change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


DocumentT = TypeVar("DocumentT", bound=Document)


def first_problem(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line: where, what, and how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    place = ".".join(str(part) for part in first["loc"]) or "document"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}: {first['msg']}{more}"


def parse_document(kind: type[DocumentT], data: object, source: str) -> DocumentT:
    """Validate plain data; SpecError naming `source` and the first problem."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise SpecError(f"{source}: {first_problem(error)}") from error


def read_yaml(path: Path) -> object:
    """The plain data of a YAML (or JSON) file; NotFoundError or SpecError with the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(f"cannot read {path}: {error}") from error
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError(f"{place}: not YAML: {problem}") from error
    except (ValueError, RecursionError) as error:
        # Scalars that look like a date or number and are none, and lists in lists without end.
        raise SpecError(f"{path}: not YAML: {error}") from error


def read_document(kind: type[DocumentT], path: Path) -> DocumentT:
    return parse_document(kind, read_yaml(path), str(path))


def write_atomically(path: Path, data: bytes) -> None:
    """Readers see the old file or the whole new one, never a part; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_document(document: Document, path: Path) -> None:
    """Write as YAML, atomically."""
    data = document.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
    write_atomically(path, text.encode())
