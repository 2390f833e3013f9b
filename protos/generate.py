"""Generate shared/tercet/v1 from protos/, or with --check fail if the committed files differ."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
COMMITTED = ROOT.parent / "shared" / "tercet" / "v1"
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")


def generate(target: Path) -> None:
    sources = sorted(str(path) for path in ROOT.glob("tercet/v1/*.proto"))
    status = protoc.main(
        [
            "protoc",
            f"-I{ROOT}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            *sources,
        ]
    )
    if status:
        sys.exit(status)


def contents(folder: Path) -> dict[str, str]:
    # A grpc file for a proto without services says nothing.
    return {
        path.name: text
        for path in sorted(folder.iterdir())
        if path.name.endswith(SUFFIXES)
        and (not path.name.endswith("_pb2_grpc.py") or "Stub" in path.read_text(encoding="utf-8"))
        and (text := path.read_text(encoding="utf-8"))
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = contents(Path(folder) / "tercet" / "v1")
    if "--check" in sys.argv[1:]:
        committed = contents(COMMITTED)
        drifted = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
        if drifted:
            sys.exit(f"{', '.join(drifted)} do not match protos/: run `make proto`")
        return
    for name, text in fresh.items():
        (COMMITTED / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
