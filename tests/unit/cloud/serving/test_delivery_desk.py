"""Durable frames in the cloud: taken once, in order, and only when they are on disk."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from support.deliveries import durable_frame, request_of
from support.tiny_model import OUTPUT, tiny_boundary, tiny_card, tiny_deployment, tiny_input, tiny_reference
from tercet.durable.capture_time import AgeSource
from tercet.errors import (
    ContractError,
    FrameTooLargeError,
    InvariantError,
    NotFoundError,
    OverloadedError,
    SpecError,
    TercetError,
    UnavailableError,
    WireFormatError,
)
from tercet.limits import MAX_CALL_FRAMES, MAX_FRAME_BYTES
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.v1 import delivery_pb2
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame, error_from_detail
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url
from tercet_cloud.results.reading import ResultReader, StoredResult
from tercet_cloud.results.result import ResultKey
from tercet_cloud.results.store import ResultStore
from tercet_cloud.serving.delivery_desk import DeliveryDesk
from tercet_cloud.serving.model_host import ModelHost

TAKEN = delivery_pb2.DELIVERY_OUTCOME_TAKEN
DUPLICATE = delivery_pb2.DELIVERY_OUTCOME_DUPLICATE
REFUSED = delivery_pb2.DELIVERY_OUTCOME_REFUSED


class Cloud:
    """A desk with a real host and a real store; counts what is computed, and can hold it up."""

    def __init__(self, deployments: Sequence[Deployment], store: Store, file: Path, **bounds: int) -> None:
        self.host = ModelHost(deployments, store, node="cloud-1")
        self.file = file
        self.database = Database(DatabaseUrl.parse(sqlite_url(file), "--results"))
        self.results = ResultStore(self.database)
        self.desk = DeliveryDesk(self.host, self.results, self._compute, **bounds)
        self.runs: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def _compute(self, frames: Sequence[bytes]) -> list[bytes]:
        self.runs.append(len(frames))
        await self.gate.wait()
        return await asyncio.to_thread(self.host.answer, frames)

    async def deliver(
        self, *frames: bytes, resends: int = 0, age_ms: int = 0
    ) -> list[delivery_pb2.DeliveryReceipt]:
        request = request_of(frames, resends=resends, age_ms=age_ms)
        return list((await self.desk.deliver(request)).receipts)

    def stored(self) -> list[StoredResult]:
        return list(ResultReader(self.database).in_order(outputs=True))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def deployment(store: Store) -> Deployment:
    return tiny_deployment(store)


@pytest.fixture
def cloud(deployment: Deployment, store: Store, tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud([deployment], store, tmp_path / "results.db")
    yield cloud
    cloud.database.close()


def outcomes(receipts: Sequence[delivery_pb2.DeliveryReceipt]) -> list[int]:
    return [receipt.outcome for receipt in receipts]


def error_of(receipt: delivery_pb2.DeliveryReceipt) -> TercetError:
    assert receipt.outcome == REFUSED
    return error_from_detail(receipt.error)


async def test_a_frame_is_taken_once_and_its_result_is_what_the_uncut_model_gives(
    cloud: Cloud, deployment: Deployment
) -> None:
    x = tiny_input()
    frame = durable_frame(deployment, x, sequence=7)
    (first,) = await cloud.deliver(frame)
    (again,) = await cloud.deliver(frame, resends=1)
    assert (first.node, first.sequence, first.outcome) == ("cam-1", 7, TAKEN)
    assert (again.node, again.sequence, again.outcome) == ("cam-1", 7, DUPLICATE)
    assert cloud.runs == [1]
    (result,) = cloud.stored()
    assert result.outputs is not None
    answer = Answer.open(result.outputs)
    np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], rtol=0, atol=1e-5)
    assert (answer.header.node, answer.header.sequence) == ("cam-1", 7)
    assert not result.degraded
    tallies = cloud.results.tallies()
    assert (tallies.taken, tallies.deduplicated, tallies.redelivered) == (1, 1, 1)


async def test_outputs_that_came_with_the_frame_are_kept_and_marked_as_degraded(
    cloud: Cloud, deployment: Deployment
) -> None:
    x = tiny_input()
    assert outcomes(await cloud.deliver(durable_frame(deployment, x, boundary=3))) == [TAKEN]
    (result,) = cloud.stored()
    assert result.degraded
    assert "before it came to the cloud" in result.reason
    assert result.outputs is not None
    answer = Answer.open(result.outputs)
    np.testing.assert_array_equal(answer.outputs()[OUTPUT], tiny_boundary(x, 3))
    assert answer.header.route.degraded
    # The plan itself leaves the cloud nothing: as planned.
    assert outcomes(await cloud.deliver(durable_frame(deployment, x, 2, plan="edge-only", boundary=3))) == [TAKEN]
    assert not cloud.stored()[1].degraded


async def test_results_are_stored_in_the_order_of_the_call_and_share_runs(
    cloud: Cloud, deployment: Deployment
) -> None:
    frames = [
        durable_frame(deployment, tiny_input(number), number, node=node)
        for number in range(1, 6)
        for node in ("cam-2", "cam-1")
    ]
    assert outcomes(await cloud.deliver(*frames)) == [TAKEN] * 10
    assert cloud.runs == [4, 4, 2]
    results = cloud.stored()
    assert [(result.key.node, result.key.sequence) for result in results] == [
        (node, number) for number in range(1, 6) for node in ("cam-2", "cam-1")
    ]
    assert not any(result.late for result in results)


async def test_the_time_of_capture_is_the_clouds_own_less_the_age(cloud: Cloud, deployment: Deployment) -> None:
    await cloud.deliver(durable_frame(deployment, tiny_input()), age_ms=3_600_000)
    (result,) = cloud.stored()
    assert result.received_unix_us - result.captured_unix_us == 3_600_000_000
    assert result.age_source is AgeSource.MONOTONIC
    assert not result.captured_uncertain
    # An age that cannot be is no reason to lose a frame.
    await cloud.deliver(durable_frame(deployment, tiny_input(), 2), age_ms=2**64 - 1)
    unbelievable = cloud.stored()[1]
    assert unbelievable.captured_unix_us == unbelievable.received_unix_us
    assert unbelievable.captured_uncertain


async def test_a_frame_of_a_model_with_labels_is_labelled(
    deployment: Deployment, store: Store, tmp_path: Path
) -> None:
    card = tiny_card(store)
    labels = ("ant", "bee", "cat", "dog", "eel")
    labelled = card.model_copy(update={"task": "classification", "labels": labels})
    store.add_model(labelled, store.model_bytes(card))
    cloud = Cloud([deployment], store, tmp_path / "results.db")
    x = tiny_input()
    await cloud.deliver(durable_frame(deployment, x), durable_frame(deployment, tiny_input(rows=2), 2))
    one, several = cloud.stored()
    assert one.label == labels[int(tiny_reference(x)[OUTPUT].argmax())]
    assert one.confidence is not None
    assert 0.2 < one.confidence < 1
    assert several.label is None


async def test_a_bad_frame_is_refused_by_its_own_fault_and_the_others_are_taken(
    cloud: Cloud, deployment: Deployment
) -> None:
    x = tiny_input()
    good = durable_frame(deployment, x)
    realtime = pb.FrameHeader(model=deployment.model, plan="raw", boundary=2, node="cam-1", sequence=2)
    cases: list[tuple[bytes, type[TercetError]]] = [
        (good[:-1] + bytes([good[-1] ^ 1]), WireFormatError),
        (b"", WireFormatError),
        (Frame.encode(realtime, {"squeezed": tiny_boundary(x, 2)}, "raw").seal(), ContractError),
        (durable_frame(deployment, x, deadline_ms=20), ContractError),
        (durable_frame(deployment, x, codec="delta:int8"), ContractError),
        (durable_frame(deployment, x, boundary=1), ContractError),
        (durable_frame(deployment, x, plan="best"), NotFoundError),
        (durable_frame(deployment, x, model="tiny@000000000000"), NotFoundError),
        (durable_frame(deployment, x, sequence=0), WireFormatError),
        (durable_frame(deployment, x, sequence=2**53), WireFormatError),
        (durable_frame(deployment, x, node="Cam/1"), SpecError),
    ]
    receipts = await cloud.deliver(good, *(frame for frame, _ in cases), durable_frame(deployment, x, 2))
    assert outcomes([receipts[0], receipts[-1]]) == [TAKEN, TAKEN]
    errors = [error_of(receipt) for receipt in receipts[1:-1]]
    assert [type(error) for error in errors] == [kind for _, kind in cases]
    assert [result.key.sequence for result in cloud.stored()] == [1, 2]
    assert cloud.results.tallies().refused == len(cases)


async def test_a_frame_that_fails_in_its_segment_is_refused_and_never_spoils_the_others(
    cloud: Cloud, deployment: Deployment
) -> None:
    x = tiny_input()
    header = pb.FrameHeader(
        model=deployment.model, plan="raw", boundary=2, node="cam-1", sequence=2, delivery=pb.DELIVERY_CLASS_DURABLE
    )
    poison = Frame.encode(header, {"squeezed": np.zeros((1, 9), np.float32)}, "raw").seal()
    receipts = await cloud.deliver(durable_frame(deployment, x, 1), poison, durable_frame(deployment, x, 3))
    assert outcomes(receipts) == [TAKEN, REFUSED, TAKEN]
    assert not isinstance(error_of(receipts[1]), UnavailableError)
    assert [result.key.sequence for result in cloud.stored()] == [1, 3]


async def test_without_a_store_nothing_is_computed_and_everybody_is_told_to_wait(
    cloud: Cloud, deployment: Deployment
) -> None:
    cloud.results.prepare()
    frames = [durable_frame(deployment, tiny_input(), number) for number in (1, 2)]
    with sqlite3.connect(cloud.file, isolation_level=None) as other:
        # As a newer version would have left it.
        other.execute("ALTER TABLE tercet_results RENAME TO elsewhere")
        receipts = await cloud.deliver(*frames)
        assert [type(error_of(receipt)) for receipt in receipts] == [UnavailableError] * 2
        assert cloud.runs == []
        other.execute("ALTER TABLE elsewhere RENAME TO tercet_results")
    other.close()
    assert outcomes(await cloud.deliver(*frames)) == [TAKEN] * 2


async def test_on_a_full_disk_everybody_is_told_to_wait_and_nothing_is_lost_or_spoilt(
    cloud: Cloud, deployment: Deployment
) -> None:
    pages = [1000]

    @event.listens_for(cloud.database._engine, "checkout")
    def bound(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages[0]}")

    frames = [durable_frame(deployment, tiny_input(rows=4000), number) for number in (1, 2, 3)]
    assert outcomes(await cloud.deliver(frames[0])) == [TAKEN]
    pages[0] = 1
    receipts = await cloud.deliver(*frames)
    assert outcomes(receipts) == [DUPLICATE, REFUSED, REFUSED]
    assert isinstance(error_of(receipts[1]), OverloadedError)
    assert "no room on disk" in receipts[1].error.message
    pages[0] = 10_000
    assert outcomes(await cloud.deliver(*frames)) == [DUPLICATE, TAKEN, TAKEN]
    assert [one.key.sequence for one in cloud.stored()] == [1, 2, 3]


async def test_a_frame_in_work_is_not_computed_twice_and_later_ones_of_its_device_wait_for_it(
    cloud: Cloud, deployment: Deployment
) -> None:
    first, second = (durable_frame(deployment, tiny_input(), number) for number in (1, 2))
    other = durable_frame(deployment, tiny_input(), 1, node="cam-2")
    cloud.gate.clear()
    call = asyncio.create_task(cloud.deliver(first))
    while not cloud.runs:
        await asyncio.sleep(0.001)
    again = asyncio.create_task(cloud.deliver(first, second, other, resends=1))
    while len(cloud.runs) < 2:
        await asyncio.sleep(0.001)
    cloud.gate.set()
    receipts = await again
    assert outcomes(await call) == [TAKEN]
    assert outcomes(receipts) == [REFUSED, REFUSED, TAKEN]
    assert all(isinstance(error_of(receipt), OverloadedError) for receipt in receipts[:2])
    assert outcomes(await cloud.deliver(first, second, other, resends=2)) == [DUPLICATE, TAKEN, DUPLICATE]


async def test_what_a_caller_left_behind_is_finished(cloud: Cloud, deployment: Deployment) -> None:
    frame = durable_frame(deployment, tiny_input())
    cloud.gate.clear()
    call = asyncio.create_task(cloud.deliver(frame))
    while not cloud.runs:
        await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    cloud.gate.set()
    while not cloud.stored():
        await asyncio.sleep(0.001)
    # The store has it a moment before the desk knows: until then a repeat is to come again.
    while outcomes(receipts := await cloud.deliver(frame, resends=1)) == [REFUSED]:
        assert isinstance(error_of(receipts[0]), OverloadedError)
    assert outcomes(receipts) == [DUPLICATE]


async def test_calls_over_the_limits_get_one_refusal(cloud: Cloud, deployment: Deployment) -> None:
    (many,) = await cloud.deliver(*([b"x"] * (MAX_CALL_FRAMES + 1)))
    assert type(error_of(many)) is ContractError
    (large,) = await cloud.deliver(bytes(MAX_FRAME_BYTES), b"x")
    assert type(error_of(large)) is FrameTooLargeError
    assert (many.node, many.sequence) == ("", 0)


async def test_an_empty_call_only_compares_clocks(cloud: Cloud) -> None:
    response = await cloud.desk.deliver(delivery_pb2.DeliverRequest(sent_unix_us=5))
    assert not response.receipts
    assert (response.holder, response.sent_unix_us) == ("cloud-1", 5)
    assert response.answered_unix_us > 1_700_000_000_000_000
    assert not cloud.file.exists()


async def test_calls_beyond_the_bounds_are_told_to_come_back(
    deployment: Deployment, store: Store, tmp_path: Path
) -> None:
    cloud = Cloud([deployment], store, tmp_path / "results.db", max_frames=3, max_calls=2)
    frames = [durable_frame(deployment, tiny_input(), number, node=f"cam-{number}") for number in range(1, 7)]
    cloud.gate.clear()
    # An only call is taken however large.
    calls = [asyncio.create_task(cloud.deliver(*frames[:4]))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (refused,) = await cloud.deliver(frames[4])
    assert isinstance(error_of(refused), OverloadedError)
    assert refused.error.retry_after_ms > 0
    cloud.gate.set()
    assert outcomes(await calls[0]) == [TAKEN] * 4
    assert outcomes(await cloud.deliver(frames[4])) == [TAKEN]


def test_a_frame_that_ends_the_process_is_given_up_and_the_others_are_all_stored(
    deployment: Deployment, store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "results.db"
    # A process that takes frames 1 to 8 in one call, as one that came again; computing frame 5 kills it.
    program = textwrap.dedent(
        f"""
        import asyncio, os, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[3])!r})
        from support.deliveries import durable_frame, request_of
        from support.tiny_model import tiny_deployment, tiny_input
        from tercet.models.store import Store
        from tercet.wire.messages import Frame
        from tercet_cloud.database import Database
        from tercet_cloud.database_url import DatabaseUrl, sqlite_url
        from tercet_cloud.results.store import ResultStore
        from tercet_cloud.serving.delivery_desk import DeliveryDesk
        from tercet_cloud.serving.model_host import ModelHost

        store = Store(Path({str(store.root)!r}))
        deployment = tiny_deployment(store)
        host = ModelHost([deployment], store, node="cloud-1")

        async def compute(frames):
            if any(Frame.open(frame).header.sequence == 5 for frame in frames):
                os.kill(os.getpid(), 9)
            return host.answer(frames)

        async def main():
            results = ResultStore(Database(DatabaseUrl.parse(sqlite_url(Path({str(file)!r})), "--results")))
            desk = DeliveryDesk(host, results, compute)
            frames = [durable_frame(deployment, tiny_input(), number) for number in range(1, 9)]
            response = await desk.deliver(request_of(frames, resends=int(sys.argv[1])))
            print(*(receipt.outcome for receipt in response.receipts), response.receipts[4].error.kind)

        asyncio.run(main())
        """
    )
    deaths = 0
    while True:
        done = subprocess.run(
            [sys.executable, "-c", program, str(deaths)], capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        deaths += 1
    assert deaths == 4
    told = [DUPLICATE] * 4 + [REFUSED] + [TAKEN] * 3
    assert done.stdout.split() == [*map(str, told), "PoisonError"]
    database = Database(DatabaseUrl.parse(sqlite_url(file), "--results"))
    assert [result.key.sequence for result in ResultReader(database).in_order()] == [1, 2, 3, 4, 6, 7, 8]
    # Whoever asks for it once more later gets a fresh start.
    assert ResultStore(database).look_up([ResultKey("cam-1", 5)]).tries == {}


async def test_a_mark_that_could_not_be_taken_away_is_not_held_against_a_frame(
    cloud: Cloud, deployment: Deployment
) -> None:
    cloud.results.prepare()
    frame = durable_frame(deployment, tiny_input())
    for resends in range(1, 5):
        cloud.gate.clear()
        call = asyncio.create_task(cloud.deliver(frame, resends=resends))
        while len(cloud.runs) < resends:
            await asyncio.sleep(0.001)
        with sqlite3.connect(cloud.file, isolation_level=None) as other:
            other.execute("ALTER TABLE tercet_results RENAME TO elsewhere")
            cloud.gate.set()
            (receipt,) = await call
            assert isinstance(error_of(receipt), UnavailableError)
            other.execute("ALTER TABLE elsewhere RENAME TO tercet_results")
        other.close()
    assert outcomes(await cloud.deliver(frame, resends=5)) == [TAKEN]


async def test_a_frame_that_fails_for_an_internal_reason_is_logged_and_refused(
    cloud: Cloud, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(cloud.host, "result_of", fail)
    (receipt,) = await cloud.deliver(durable_frame(deployment, tiny_input()))
    error = error_of(receipt)
    assert isinstance(error, InvariantError)
    assert "secret" not in str(error)
