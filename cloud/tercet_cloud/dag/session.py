"""A scheduler at hand: on a Ray of our own or on a cluster, for the command line, benches and programs.

with PipelineSession(SessionOptions()) as session:
    run = session.submit(pipeline, {"photo": data})
    print(session.outputs(run))
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from tercet.errors import DeadlineError, LinkDownError, NotFoundError, TercetError, UnavailableError
from tercet.models.store import DEFAULT_STORE
from tercet.steps.references import value_at
from tercet_cloud.dag.call import Means
from tercet_cloud.dag.outcomes import RunState
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.run_names import check_run_name, new_run_name
from tercet_cloud.dag.spec import Pipeline
from tercet_cloud.database_url import DatabaseUrl
from tercet_cloud.error_lines import last_line
from tercet_cloud.serving.cluster import check_ray_address, prepare_environment
from tercet_cloud.serving.orphan_guard import OrphanGuard
from tercet_cloud.serving.ray_daemons import RayDaemons

NAMESPACE = "tercet"
SCHEDULER = "tercet-pipelines"
_OBJECT_STORE_BYTES = 256 << 20
_START_S = 180.0
_CALL_S = 60.0
_STOP_S = 30.0
_RESUME_S = 45.0
_RECOVERIES = 3
_HEAD_S = 2.0
_LOOK_S = 2.0
_LOOK_AGAIN_S = 1 / 8

log = logging.getLogger(__name__)


class Ended(NamedTuple):
    """A run that has ended, and of one that is done what its events hold, by key."""

    record: RunRecord
    events: Mapping[str, Any]


@dataclass(frozen=True)
class SessionOptions:
    """How to get at a scheduler.

    Attributes:
        ray_address: HOST:PORT of a cluster; empty: a Ray of our own, which ends with the session.
        workers: processes that compute; None: as many as this machine has processors.
        state: folder of kept runs; None: none are kept.
        database: their database; None: a file in `state`.
        adopts: whether to go on with unfinished runs that nobody works on.
        shared: use the cluster's scheduler, and leave it running; else one of our own.
        import_paths: folders that workers import functions from, besides installed packages.
    """

    ray_address: str = ""
    workers: int | None = None
    state: Path | None = None
    database: str | None = None
    adopts: bool = False
    shared: bool = False
    means: Means = field(default_factory=lambda: Means(DEFAULT_STORE))
    import_paths: tuple[Path, ...] = ()


class PipelineSession:
    """See the module. Blocking, except `run`; use it from one thread, the one that enters it.

    Entering raises LinkDownError or UnavailableError with Ray's reason.
    """

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        # By identity, so the pipelines are held as well.
        self._prepared: dict[int, tuple[Pipeline, str]] = {}

    def __enter__(self) -> PipelineSession:
        with contextlib.ExitStack() as stack:
            self._start_ray(stack)
            self.scheduler = self._find_scheduler(stack)
            self.workers: int = self._get(self.scheduler.ready.remote(), _START_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # --- runs

    def submit(
        self,
        pipeline: Pipeline,
        inputs: Mapping[str, Any] | None = None,
        *,
        priority: int | None = None,
        deadline_s: float | None = None,
        run: str | None = None,
    ) -> str:
        """Begin a run; returns its name. Raises what checking and the scheduler say, SpecError for a bad name."""
        name = new_run_name(pipeline) if run is None else check_run_name(run)
        order = {"priority": priority, "deadline_s": deadline_s, "submission": secrets.token_hex(8)}
        self._submit(name, pipeline, inputs, order)
        return name

    def _submit(
        self, name: str, pipeline: Pipeline, inputs: Mapping[str, Any] | None, order: Mapping[str, Any]
    ) -> None:
        given = _held(inputs)
        order = {**order, "keep_inputs": self._options.shared}
        for last in (False, True):
            key = self._prepare(pipeline)
            try:
                self._get(self.scheduler.submit.remote(name, key, tuple(given), *given.values(), **order))
                return
            except NotFoundError:
                # A scheduler that was started anew knows no pipelines.
                self._prepared.clear()
                if last:
                    raise

    async def run(
        self, pipeline: Pipeline, inputs: Mapping[str, Any] | None = None, *, priority: int | None = None
    ) -> Ended:
        """A whole run, for callers in an event loop that have many under way; its outputs are not kept.

        If the scheduler dies, the run goes on at the next one, or begins anew there if it is not kept.
        """
        name = new_run_name(pipeline)
        key, given = self._prepare(pipeline), _held(inputs)
        order = {"priority": priority, "submission": secrets.token_hex(8)}
        try:
            with _told():
                record, held = await self.scheduler.run.remote(name, key, tuple(given), *given.values(), **order)
        except NotFoundError:
            return await asyncio.to_thread(self._run_anew, name, pipeline, inputs, order)
        return Ended(record, await asyncio.to_thread(self._events, held) if held else {})

    def _run_anew(
        self, name: str, pipeline: Pipeline, inputs: Mapping[str, Any] | None, order: Mapping[str, Any]
    ) -> Ended:
        """`run` at a scheduler that was started anew."""
        self._submit(name, pipeline, inputs, order)
        record = self.wait(name)
        done = record.state is RunState.DONE
        events = self._events(self._get(self.scheduler.results.remote(name, events=True))) if done else {}
        self.forget(name)
        return Ended(record, events)

    def _events(self, held: Mapping[str, Any]) -> dict[str, Any]:
        values, missing = self._values(held)
        for key, error in missing.items():
            log.warning("an event is not told", extra={"key": key, "reason": str(error)})
        return values

    def wait(self, run: str, timeout_s: float | None = None) -> RunRecord:
        """The record of a run that has ended; DeadlineError if it has not after `timeout_s`.

        A run that is kept goes on if its scheduler dies: Ray starts another, and this takes the run over there.
        """
        slack_s = None if timeout_s is None else timeout_s + _CALL_S
        record: RunRecord = self._surviving(
            run, lambda: self._get(self.scheduler.wait.remote(run, timeout_s), slack_s)
        )
        if not record.state.ended:
            raise DeadlineError(f"run {run} has not ended within {timeout_s:g} s")
        return record

    def watch(self, run: str) -> Iterator[RunRecord]:
        """Records as the run goes on, eight a second at most, the last when it has ended.

        As `wait` if the scheduler dies.
        """
        version = -1
        while True:
            looked_s = time.monotonic()
            version, record = self._surviving(run, partial(self._look, run, version))
            yield record
            if record.state.ended:
                return
            time.sleep(max(0.0, looked_s + _LOOK_AGAIN_S - time.monotonic()))

    def _look(self, run: str, version: int) -> Any:
        return self._get(self.scheduler.watch.remote(run, version, 1.0))

    def outputs(self, run: str, *, events: bool = False) -> dict[str, Any]:
        """What a run has given, by name; what has not run is left out. `events`: what its events hold, by key.

        Raises what `read_outputs` says of the first that cannot be had.
        """
        values, missing = self.read_outputs(run, events=events)
        for error in missing.values():
            raise error
        return values

    def read_outputs(self, run: str, *, events: bool = False) -> tuple[dict[str, Any], dict[str, TercetError]]:
        """As `outputs`, and why some cannot be had: their path leads nowhere, or what was kept is not there."""
        return self._values(self._get(self.scheduler.results.remote(run, events=events)))

    def _values(self, held: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, TercetError]]:
        values, missing = dict[str, Any](), dict[str, TercetError]()
        for name, (reference, path) in held.items():
            try:
                values[name] = value_at(self._get(reference), path)
            except TercetError as error:
                missing[name] = error
        return values, missing

    def cancel(self, run: str, node: str | None = None) -> None:
        self._get(self.scheduler.cancel.remote(run, node))

    def resume(self, run: str) -> None:
        """Go on with a kept run that nobody works on; takes some seconds to be sure of that."""
        self._get(self.scheduler.resume.remote(run), _RESUME_S)

    def forget(self, run: str) -> None:
        self._get(self.scheduler.forget.remote(run))

    # --- Ray

    def _surviving(self, run: str, call: Callable[[], Any]) -> Any:
        for _ in range(_RECOVERIES):
            try:
                return call()
            except (LinkDownError, NotFoundError) as error:
                if self._options.state is None:
                    raise
                if not self._ray_lives():
                    command = self._retry_command(run, self._options.state)
                    raise LinkDownError(
                        f"Ray has ended under run {run}; `{command}` goes on with what it kept"
                    ) from error
                # Another scheduler stands in its place, and knows nothing of the run.
                log.warning("the scheduler is gone; going on with another", extra={"run": run})
                self.resume(run)
        return call()

    def _retry_command(self, run: str, state: Path) -> str:
        """As it works from any folder; a password, which is not shown, is to be filled in."""
        words = ["tercet", "pipeline", "retry", run, "--state", str(state.resolve())]
        if self._options.database is not None:
            words += ["--database", DatabaseUrl.parse(self._options.database, "--database").shown]
        return shlex.join(words)

    def _prepare(self, pipeline: Pipeline) -> str:
        if (prepared := self._prepared.get(id(pipeline))) is not None:
            return prepared[1]
        key = hashlib.sha256(pipeline.model_dump_json().encode()).hexdigest()
        self._get(self.scheduler.prepare.remote(key, pipeline))
        self._prepared[id(pipeline)] = (pipeline, key)
        return key

    def _get(self, reference: Any, timeout_s: float | None = _CALL_S) -> Any:
        import ray
        from ray.exceptions import GetTimeoutError

        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = _LOOK_S if until_s is None else max(0.0, min(_LOOK_S, until_s - time.monotonic()))
            try:
                with _told():
                    return ray.get(reference, timeout=left_s)
            except GetTimeoutError as error:
                # Ray itself waits for its head half a minute and more.
                if not self._ray_lives():
                    raise LinkDownError("Ray has ended") from error
                if until_s is not None and time.monotonic() >= until_s:
                    raise DeadlineError(f"the scheduler did not answer within {timeout_s:g} s") from error

    def _start_ray(self, stack: contextlib.ExitStack) -> None:
        address = self._options.ray_address
        if address:
            check_ray_address(address)
        scratch = None if address else stack.enter_context(OrphanGuard()).folder
        prepare_environment(scratch, 0)
        record_factory = logging.getLogRecordFactory()
        import ray

        # Ray adds fields to the records of every logger, and tells everything in a format of its own.
        logging.setLogRecordFactory(record_factory)
        logging.getLogger("ray").setLevel(logging.ERROR)
        paths = [str(path.resolve()) for path in self._options.import_paths]
        environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}} if paths else None
        common = {
            "log_to_driver": False,
            "configure_logging": False,
            "namespace": NAMESPACE,
            "runtime_env": environment,
        }
        try:
            if address:
                ray.init(address=address, **common)
            else:
                ray.init(
                    include_dashboard=False,
                    num_cpus=self._workers(),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(scratch),
                    **common,
                )
        except Exception as error:
            kind = LinkDownError if address else UnavailableError
            raise kind(f"Ray did not start: {last_line(error)}") from error
        stack.callback(ray.shutdown)
        self._head: str = ray.get_runtime_context().gcs_address
        self._daemons = None if address else RayDaemons()

    def _find_scheduler(self, stack: contextlib.ExitStack) -> Any:
        import ray

        from tercet_cloud.dag.actor import Setup, new_scheduler
        from tercet_cloud.dag.run_store import state_url

        options = self._options
        if options.shared:
            with contextlib.suppress(ValueError):
                return ray.get_actor(SCHEDULER, namespace=NAMESPACE)
        state = None if options.state is None else options.state.resolve()
        database = options.database or (None if state is None else state_url(state))
        setup = Setup(
            workers=self._workers(),
            means=options.means,
            database=database,
            folder=None if state is None else state / "values",
            adopts=options.adopts or options.shared,
            gpus=int(ray.cluster_resources().get("GPU", 0)),
            import_paths=tuple(str(path.resolve()) for path in options.import_paths),
        )
        if options.shared:
            return new_scheduler(setup, name=SCHEDULER, detached=True)
        scheduler = new_scheduler(setup)
        stack.callback(self._stop, scheduler)
        return scheduler

    def _ray_lives(self) -> bool:
        """Whether Ray's head can be reached. Where it cannot, calls wait a minute, then Ray ends this process.

        Of a Ray of our own also whether it can still start a worker, or a scheduler in the place of a dead one.
        """
        if self._daemons is not None and self._daemons.dead() is not None:
            return False
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _HEAD_S).close()
        except OSError:
            return False
        return True

    def _stop(self, scheduler: Any) -> None:
        if not self._ray_lives():
            return
        with contextlib.suppress(TercetError):
            self._get(scheduler.stop.remote(), _STOP_S)

    def _workers(self) -> int:
        if self._options.workers is not None:
            return self._options.workers
        if self._options.ray_address:
            import ray

            return max(1, round(ray.cluster_resources().get("CPU", 1))) if ray.is_initialized() else 1
        return len(os.sched_getaffinity(0))


def _held(inputs: Mapping[str, Any] | None) -> dict[str, list[Any]]:
    """Inputs as references, each in a list of its own: so they stay references on their way."""
    import ray

    return {name: [ray.put(value)] for name, value in (inputs or {}).items()}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Errors of ours come out of the scheduler as they went in; Ray's say that it is gone."""
    from ray.exceptions import GetTimeoutError, RayError, RayTaskError

    try:
        yield
    except GetTimeoutError:
        raise
    except RayTaskError as error:
        if isinstance(error.cause, TercetError):
            raise error.cause from error
        raise UnavailableError(f"the scheduler failed: {last_line(error)}") from error
    except RayError as error:
        raise LinkDownError(f"the scheduler is gone: {last_line(error)}") from error
