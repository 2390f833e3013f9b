"""The options of `tercet profile`, on every install the same."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tercet.errors import SettingsError
from tercet.identifiers import check_name
from tercet.inference.sample_inputs import parse_shapes
from tercet.models.store import DEFAULT_STORE
from tercet.profile import Profile
from tercet.tiers import Tier

DEFAULT_SECONDS = 10.0


@dataclass(frozen=True)
class ProfileOptions:
    """See `tercet profile --help`."""

    model: str
    tier: Tier
    threads: int
    providers: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    seconds: float
    node: str
    out: Path
    as_json: bool
    store: Path


def profile_options(function: Callable[[ProfileOptions], Any]) -> Callable[..., Any]:
    """Decorate `f(options)`: adds the argument MODEL and the options."""

    @functools.wraps(function)
    def wrapper(shape: tuple[str, ...], tier: str, node: str | None, out: Path | None, **given: Any) -> Any:
        name = str(given["model"]).partition("@")[0]
        path = out or Path(".tercet/profiles") / f"{check_name(name, 'model')}-{tier}.yaml"
        require_writable(path)
        options = ProfileOptions(
            tier=Tier(tier),
            shapes=parse_shapes(shape),
            node=check_name(node, "node") if node else this_node(),
            out=path,
            **given,
        )
        return function(options)

    decorated: Callable[..., Any] = wrapper
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


_OPTIONS = (
    click.argument("model"),
    click.option(
        "--tier",
        type=click.Choice([tier.value for tier in Tier]),
        default=Tier.DEVICE.value,
        show_default=True,
        help="What this machine is in the topology.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1, 256),
        default=1,
        show_default=True,
        help="ONNX Runtime threads per run, as the tier will have.",
    ),
    click.option(
        "--provider",
        "providers",
        multiple=True,
        default=("CPUExecutionProvider",),
        show_default=True,
        help="ONNX Runtime execution provider; repeat for more, best first.",
    ),
    click.option(
        "--shape",
        multiple=True,
        metavar="INPUT=1x3x224x224",
        help="Sizes of an input that leaves some open, others than a first axis (which is 1).",
    ),
    click.option(
        "--seconds",
        type=click.FloatRange(0.1, 3600),
        default=DEFAULT_SECONDS,
        show_default=True,
        help="How long to measure; slow models take as many rounds as are needed.",
    ),
    click.option("--node", help="Name of this machine in the profile.  [default: its host name]"),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="File to write, JSON if it ends so, else YAML.  [default: .tercet/profiles/MODEL-TIER.yaml]",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the profile as JSON instead of tables."),
    click.option(
        "--store",
        type=click.Path(file_okay=False, path_type=Path),
        default=DEFAULT_STORE,
        show_default=True,
        envvar="TERCET_MODELS_STORE",
        show_envvar=True,
        help="Directory of models, segments and manifests.",
    ),
)


def this_node() -> str:
    """The host's name made fit for a node's name."""
    name = re.sub(r"[^a-z0-9._-]+", "-", platform.node().lower())[:63].strip("._-")
    return name or "this-machine"


def require_writable(path: Path) -> None:
    """SettingsError unless `path` can be written: said before anything is measured for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        existed = path.exists()
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise SettingsError(f"--out: cannot write {path}: {error.strerror}; choose another file") from error


def write_profile(profile: Profile, path: Path) -> None:
    """Write as JSON if the name ends so, else as YAML; SettingsError if that fails."""
    from tercet.documents import write_atomically, write_document

    try:
        if path.suffix == ".json":
            write_atomically(path, (profile.model_dump_json(indent=2) + "\n").encode())
        else:
            write_document(profile, path)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error
