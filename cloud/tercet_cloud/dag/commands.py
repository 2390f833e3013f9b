"""`tercet pipeline`: check, run, watch, list, show, cancel and retry pipelines."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from tercet.errors import TercetError
from tercet_cloud.command_options import json_option, store_option

if TYPE_CHECKING:
    from tercet_cloud.dag.run_store import RunStore

_Command = Callable[..., Any]


def _state_options(function: _Command) -> _Command:
    """--state and --database, which say where runs are kept."""
    function = click.option(
        "--database",
        envvar="TERCET_PIPELINE_DATABASE",
        help="Database of runs: sqlite:///FILE or postgresql://…. Default: a file in --state.",
    )(function)
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="TERCET_PIPELINE_STATE",
        default=Path(".tercet/state/pipelines"),
        show_default=True,
        help="Folder of kept runs and their results.",
    )(function)


def _session_options(function: _Command) -> _Command:
    """How a scheduler is got at, and what model nodes need."""
    for option in (
        click.option("--ray-address", default="", help="HOST:PORT of a Ray cluster. Default: a Ray of its own."),
        click.option("--workers", type=click.IntRange(1, 1024), help="Processes. Default: one per processor."),
        click.option("--cloud", help="HOST:PORT of a running `tercet cloud run`, for nodes with a deployment."),
        click.option("--broker-url", help="Broker by which edges and devices are reached."),
        click.option("--fleet", default="default", show_default=True, help="The fleet of those edges and devices."),
        click.option(
            "--import-path",
            "import_paths",
            multiple=True,
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder that `call:` functions are imported from, besides the pipeline's own; repeat for more.",
        ),
        store_option,
    ):
        function = option(function)
    return function


@click.group()
def pipeline() -> None:
    """Pipelines: graphs of models and steps over device, edge and cloud, scheduled on Ray."""


@pipeline.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw the graph into this file.")
@json_option
@store_option
def check(file: Path, svg: Path | None, as_json: bool, store: Path) -> None:
    """Read a pipeline and say what is wrong with it: keys, references, cycles, arguments, types, models."""
    from tercet_cloud.dag.checked_file import read_checked
    from tercet_cloud.dag.report import describe_pipeline

    checked = read_checked(file, store)
    if svg is not None:
        _draw(svg, checked)
    if as_json:
        click.echo(json.dumps(checked.model_dump(mode="json", exclude_defaults=True), indent=2))
        return
    Console().print(describe_pipeline(checked))


@pipeline.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="An input; @FILE for a file's content."
)
@click.option("--priority", type=click.IntRange(0, 100), help="In place of the pipeline's.")
@click.option("--deadline-s", type=click.FloatRange(min=0, min_open=True), help="In place of the pipeline's.")
@click.option(
    "--detach", is_flag=True, help="Only begin the run; needs --ray-address. Nobody tells its events then."
)
@click.option("--name", help="Of the run. Default: the pipeline's name with a random end.")
@json_option
@_session_options
@_state_options
def run(
    file: Path,
    inputs: tuple[str, ...],
    priority: int | None,
    deadline_s: float | None,
    detach: bool,
    name: str | None,
    as_json: bool,
    state: Path,
    database: str | None,
    store: Path,
    **session: Any,
) -> int:
    """Run a pipeline and print what it gives. The exit status is 0 only if it is done.

    \b
    Example:
      tercet pipeline run read-text.yaml --input photo=@page.png
    """
    from tercet.errors import SettingsError
    from tercet_cloud.dag.checked_file import read_checked
    from tercet_cloud.dag.input_values import read_inputs
    from tercet_cloud.dag.run_command import RunOptions, run_pipeline, session_options
    from tercet_cloud.dag.run_names import check_run_name

    if name is not None:
        check_run_name(name)
    if detach and not session["ray_address"]:
        raise SettingsError("--detach needs --ray-address: a Ray of its own ends with this command")
    checked = read_checked(file, store, session["import_paths"])
    values = read_inputs(checked, inputs)
    session["import_paths"] = (file.parent, *session["import_paths"])
    options = session_options(state=state, database=database, store=store, detach=detach, **session)
    return run_pipeline(options, checked, values, RunOptions(priority, deadline_s, detach, as_json, name))


@pipeline.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many; 0 for all.")
@json_option
@_state_options
def list_runs(limit: int, as_json: bool, state: Path, database: str | None) -> None:
    """The last runs, newest first."""
    from tercet_cloud.dag.report import describe_runs

    records = _store(state, database).list(limit or None)
    if as_json:
        click.echo(json.dumps([record.to_json() for record in records], indent=2))
        return
    Console().print(describe_runs(records))


@pipeline.command()
@click.argument("run")
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw the graph with states and times."
)
@click.option("--gantt", type=click.Path(dir_okay=False, path_type=Path), help="Draw when each node ran.")
@click.option("--outputs", is_flag=True, help="Also what it gave.")
@json_option
@_state_options
def show(
    run: str, svg: Path | None, gantt: Path | None, outputs: bool, as_json: bool, state: Path, database: str | None
) -> int:
    """One run: its nodes, their states and times, what was retried and what is missing."""
    from tercet_cloud.dag.report import describe_run
    from tercet_cloud.dag.run_outputs import echo_run

    held = _store(state, database)
    record = held.record(run)
    if svg is not None:
        _draw(svg, held.pipeline(run), record)
    if gantt is not None:
        from tercet_cloud.dag.gantt_picture import gantt_picture

        _write_picture("--gantt", gantt, gantt_picture(record))
    given: dict[str, Any] | None = None
    missing: dict[str, TercetError] = {}
    if outputs:
        from tercet_cloud.dag.kept_outputs import kept_outputs

        given, missing = kept_outputs(held, run)
    if not as_json:
        Console().print(describe_run(record))
    echo_run(record, given, missing, as_json=as_json)
    return os.EX_DATAERR if missing else os.EX_OK


@pipeline.command()
@click.argument("run")
@click.option("--node", help="Of this node only.")
@_state_options
def logs(run: str, node: str | None, state: Path, database: str | None) -> None:
    """What the nodes of a run printed and logged, what failed and was tried again, in the order they began."""
    from tercet_cloud.dag.report import log_lines

    for line in log_lines(_store(state, database).record(run), node):
        click.echo(line)


@pipeline.command()
@click.argument("run")
@click.option("--node", help="Give up only this node and what needs it.")
@_state_options
def cancel(run: str, node: str | None, state: Path, database: str | None) -> None:
    """Give a run up, or a branch of it, wherever it is under way."""
    from tercet_cloud.dag.cancelling import cancel_run

    click.echo(f"{run}: {cancel_run(_store(state, database), run, node)}")


@pipeline.command()
@click.argument("run")
@json_option
@_session_options
@_state_options
def retry(run: str, as_json: bool, state: Path, database: str | None, store: Path, **session: Any) -> int:
    """Go on with a run that failed, was cancelled or whose scheduler died. What succeeded is not run again."""
    from tercet_cloud.dag.run_command import retry_run, session_options

    options = session_options(state=state, database=database, store=store, detach=False, **session)
    _store(state, database).reopen(run)
    return retry_run(options, run, as_json)


@pipeline.command()
@click.argument("rules", type=click.Path(dir_okay=False, path_type=Path))
@_session_options
@_state_options
def watch(rules: Path, state: Path, database: str | None, store: Path, **session: Any) -> int:
    """Run pipelines when keys change, as RULES say, until Ctrl-C; changes are heard over --broker-url.

    \b
    Example:
      tercet pipeline watch speech-rules.yaml --broker-url mqtt://127.0.0.1
      tercet pipeline publish mic-1/speech '{"level": 0.4}' --broker-url mqtt://127.0.0.1
    """
    from tercet.logs import configure_logging
    from tercet_cloud.dag.checked_file import read_checked
    from tercet_cloud.dag.events.rules import check_rules, read_rules
    from tercet_cloud.dag.run_command import session_options
    from tercet_cloud.dag.watch_command import watch_rules

    configure_logging("cloud", "watch", "info", "text")
    read = read_rules(rules)
    paths = {rule.pipeline for rule in read.rules}
    pipelines = {path: read_checked(path, store, session["import_paths"]) for path in sorted(paths)}
    check_rules(read, pipelines)
    session["import_paths"] = (*sorted({path.parent for path in paths}), *session["import_paths"])
    return watch_rules(
        session_options(state=state, database=database, store=store, detach=False, **session), read, pipelines
    )


@pipeline.command()
@click.argument("key")
@click.argument("value")
@click.option("--broker-url", required=True, help="mqtt://HOST:PORT")
@click.option("--fleet", default="default", show_default=True)
def publish(key: str, value: str, broker_url: str, fleet: str) -> None:
    """Tell that KEY holds VALUE (JSON) now, to whoever watches."""
    import asyncio
    import secrets

    from tercet.errors import InputError
    from tercet.identifiers import NodeId
    from tercet.links.broker_url import BrokerUrl
    from tercet.links.events import publish_events

    try:
        content = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{value[:60]!r} is not JSON") from error
    node = NodeId(f"publish-{secrets.token_hex(6)}")
    asyncio.run(publish_events(BrokerUrl.parse(broker_url), fleet, node, {key: content}))


def _store(state: Path, database: str | None) -> RunStore:
    """The runs that are kept; NotFoundError if nothing was ever kept there."""
    from tercet.errors import NotFoundError
    from tercet_cloud.dag.run_store import RunStore, state_url
    from tercet_cloud.database_url import DatabaseUrl

    url = state_url(state) if database is None else database
    file = DatabaseUrl.parse(url, "--database").file
    if file is not None and not file.exists():
        where, option = (state, "--state") if database is None else (file, "--database")
        raise NotFoundError(f"no runs are kept in {where}: is {option} right?")
    return RunStore(url, state / "values")


def _draw(path: Path, pipeline: Any, record: Any = None) -> None:
    from tercet_cloud.dag.graph_picture import graph_picture

    _write_picture("--svg", path, graph_picture(pipeline, record))


def _write_picture(option: str, path: Path, picture: str) -> None:
    from tercet.documents import write_atomically
    from tercet.errors import SettingsError

    try:
        write_atomically(path, picture.encode())
    except OSError as error:
        raise SettingsError(f"{option}: cannot write {path}: {error.strerror}; choose another file") from error
