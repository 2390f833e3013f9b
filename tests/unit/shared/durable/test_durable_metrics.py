from pathlib import Path

from support.durable_frames import arrival
from tercet.durable.bounds import Bounds
from tercet.durable.counters import durable_metrics
from tercet.durable.journal import Journal
from tercet.errors import SpecError
from tercet.metrics import render


async def test_a_journal_shows_its_counters_and_what_it_holds(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "j.db", Bounds(), max_tries=1, ballast_bytes=0) as journal:
        metrics = durable_metrics(journal)
        await journal.take([arrival("a", sequence) for sequence in (1, 2, 3, 1)])
        first, second, _ = await journal.pending(0, 9, 1 << 40)
        await journal.sent([first.position])
        await journal.handed_on([first.position])
        await journal.failed(second.position, SpecError("bad"))
        text = render(metrics, {"tier": "edge"})
    size_bytes = len(arrival("a", 3).sealed)
    shown = {line.split("{")[0]: float(line.split()[-1]) for line in text.splitlines() if not line.startswith("#")}
    assert shown == {
        "tercet_durable_taken_total": 3,
        "tercet_durable_sent_total": 1,
        "tercet_durable_acknowledged_total": 1,
        "tercet_durable_redelivered_total": 0,
        "tercet_durable_deduplicated_total": 1,
        "tercet_durable_expired_total": 0,
        "tercet_durable_dead_lettered_total": 1,
        "tercet_durable_held_frames": 1,
        "tercet_durable_held_bytes": size_bytes,
        "tercet_durable_dead_letters": 1,
        "tercet_durable_dead_letter_bytes": size_bytes,
    }
