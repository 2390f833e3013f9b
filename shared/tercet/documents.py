"""Documents people and tools write (cards, manifests, deployments): strict models, YAML in, one-line errors out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tercet.document_problems import Place, duplicate_key, line_of, worst_problem
from tercet.errors import NotFoundError, SpecError
from tercet.printable import printable

_PLACE_SHOWN = 120


class Document(BaseModel):
    """Base of every document: unknown keys are refused, values don't change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


DocumentT = TypeVar("DocumentT", bound=Document)


def first_problem(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line: where, what, and how many more there are.

    Without the value, which may be a secret: for settings.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    place = ".".join(str(part) for part in first["loc"]) or "document"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}: {first['msg']}{more}"


def parse_document(kind: type[DocumentT], data: object, source: str) -> DocumentT:
    """Validate plain data; SpecError naming `source` and the first problem."""
    return _validated(kind, data, None, source)


def read_yaml(path: Path) -> object:
    """The plain data of a YAML (or JSON) file; NotFoundError or SpecError with the line."""
    return _read(path)[0]


def read_document(
    kind: type[DocumentT], path: Path, check: Callable[[DocumentT], tuple[Place, str] | None] | None = None
) -> DocumentT:
    """One document of a YAML (or JSON) file; NotFoundError, or SpecError with the line and what is wrong there.

    Args:
        check: looks at the document as a whole; gives the place and the words of a problem, or None.
    """
    data, node = _read(path)
    document = _validated(kind, data, node, str(path))
    if check is not None and (problem := check(document)):
        raise SpecError(_placed(str(path), node, *problem))
    return document


def _validated(kind: type[DocumentT], data: object, node: yaml.Node | None, source: str) -> DocumentT:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise SpecError(_placed(source, node, *worst_problem(error, data))) from error


def _placed(source: str, node: yaml.Node | None, place: Place, words: str) -> str:
    line = line_of(node, place)
    where = source if line is None else f"{source}:{line}"
    name = printable(".".join(map(str, place)), _PLACE_SHOWN) or "document"
    return f"{where}: {name}: {words}"


def _read(path: Path) -> tuple[object, yaml.Node | None]:
    """Plain data, and the nodes it was made from, which know their lines."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(f"cannot read {path}: {error}") from error
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        try:
            node = loader.get_single_node()
            if (twice := duplicate_key(node)) is not None:
                key = printable(twice.value, _PLACE_SHOWN)
                raise SpecError(f"{path}:{twice.start_mark.line + 1}: {key}: this key stands here twice")
            return (None if node is None else loader.construct_document(node)), node
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError(f"{place}: not YAML: {problem}") from error
    except (ValueError, RecursionError) as error:
        # Scalars that look like a date or number and are none, and lists in lists without end.
        raise SpecError(f"{path}: not YAML: {error}") from error


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
