"""A real process with a journal, killed with -9 again and again under load, beside a model of what it owes."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.durable_frames import arrival, sealed
from support.journal_child import OWN, digest, own_payload

TESTS = Path(__file__).parents[3]
KILLS = 5
NODES = ("a", "b", "c")
Key = tuple[str, int]


class Child:
    """The process, from its start to its end."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "support.journal_child", str(path)]
        self.process = subprocess.Popen(
            command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, questions: list[dict[str, Any]]) -> None:
        assert self.process.stdin
        self.process.stdin.write("".join(json.dumps(question) + "\n" for question in questions))
        self.process.stdin.flush()

    def answers(self) -> Iterator[tuple[int, Any]]:
        """Until the process is gone; what it wrote before counts."""
        assert self.process.stdout
        for line in self.process.stdout:
            answer = json.loads(line)
            yield answer["id"], answer["result"]

    def look(self) -> Any:
        self.ask([{"id": 0, "do": "look"}])
        return next(self.answers())[1]


@contextmanager
def running(path: Path) -> Iterator[Child]:
    child = Child(path)
    try:
        yield child
    finally:
        child.process.kill()
        child.process.communicate(timeout=60)


@dataclass
class Model:
    """What the journal owes those who were answered.

    `may` holds, for every frame ever offered, what may have become of it: absent, waiting, dead or gone.
    """

    source: random.Random
    may: dict[Key, set[str]] = field(default_factory=dict)
    sizes: dict[Key, int] = field(default_factory=dict)
    positions: dict[Key, int] = field(default_factory=dict)
    own_size: int = 900
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def questions(self) -> list[dict[str, Any]]:
        """What many callers ask for at once; no two about one frame."""
        asked: list[dict[str, Any]] = []
        for _ in range(self.source.randint(5, 15)):
            asked.append({"id": next(self.ids), "do": "record", "size": self.own_size})
        for node in NODES:
            size = self.source.choice((5, 3000, 40_000))
            after = max((sequence for of, sequence in self.may if of == node), default=0)
            for _ in range(self.source.randint(1, 4)):
                sequences = list(range(after + 1, after + 1 + self.source.randint(1, 4)))
                after = sequences[-1]
                asked.append(
                    {"id": next(self.ids), "do": "take", "node": node, "sequences": sequences, "size": size}
                )
                for sequence in sequences:
                    self.may[node, sequence] = {"absent", "waiting"}
                    self.sizes[node, sequence] = size
        waiting = [key for key, may in self.may.items() if may == {"waiting"}]
        for key in self.source.sample(waiting, len(waiting) // 2):
            position = self.positions[key]
            if self.source.random() < 0.2:
                asked.append({"id": next(self.ids), "do": "fail", "position": position, "key": key})
                self.may[key] = {"waiting", "dead"}
            else:
                asked.append({"id": next(self.ids), "do": "hand_on", "positions": [position], "key": key})
                self.may[key] = {"waiting", "gone"}
        return asked

    def learn(self, asked: dict[str, Any], result: Any) -> None:
        """An answer came."""
        if asked["do"] == "record":
            assert (OWN, result) not in self.may, "a sequence was used twice"
            self.may[OWN, result] = {"waiting"}
            self.sizes[OWN, result] = self.own_size
        elif asked["do"] == "take":
            assert result == ["new"] * len(asked["sequences"])
            self.may.update({(asked["node"], sequence): {"waiting"} for sequence in asked["sequences"]})
        elif asked["do"] == "hand_on":
            self.may[asked["key"]] = {"gone"}
        else:
            self.may[asked["key"]] = {"dead"}

    def compare(self, saw: dict[str, Any]) -> None:
        """What is there is what may be; from now on it is known."""
        found: dict[Key, str] = {}
        for what in ("waiting", "dead"):
            for node, sequence, sha256, *position in saw[what]:
                key = (node, sequence)
                # One of its own that nobody heard of.
                if node == OWN and key not in self.may:
                    self.may[key], self.sizes[key] = {"absent", "waiting"}, self.own_size
                assert what in self.may[key], f"{key} is {what}"
                assert key not in found, f"{key} is there twice"
                assert sha256 == digest(self.frame(key)), f"{key} has other bytes"
                found[key] = what
                if position:
                    (self.positions[key],) = position
        for key, may in self.may.items():
            left = {found[key]} if key in found else may - {"waiting", "dead"}
            assert left, f"{key} is lost"
            if len(left) == 1:
                self.may[key] = left
        for node in (OWN, *NODES):
            order = [row[1] for row in saw["waiting"] if row[0] == node]
            assert order == sorted(order), f"{node} is out of order"
        counters = saw["counters"]
        assert saw["held"] == [len(saw["waiting"]), len(saw["dead"])]
        assert counters["taken"] == sum(saw["held"]) + counters["acknowledged"]
        assert counters["acknowledged"] >= sum(may == {"gone"} for may in self.may.values())

    def frame(self, key: Key) -> bytes:
        node, sequence = key
        size = self.sizes[key]
        return sealed(OWN, sequence, own_payload(sequence, size)) if node == OWN else arrival(*key, size).sealed


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_it_owes_nobody_anything(tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)
    model = Model(source)
    path = tmp_path / "journal.db"
    for _ in range(KILLS):
        with running(path) as child:
            model.compare(child.look())
            questions = model.questions()
            by_id = {question["id"]: question for question in questions}
            child.ask(questions)
            heard_before = source.randrange(len(questions))
            for heard, (identity, result) in enumerate(child.answers()):
                model.learn(by_id[identity], result)
                if heard == heard_before:
                    child.process.kill()
    with running(path) as child:
        model.compare(child.look())
        gone = sorted(key for key, may in model.may.items() if may == {"gone"} and key[0] != OWN)
        assert gone
        for node, sequence in gone:
            child.ask([{"id": 0, "do": "take", "node": node, "sequences": [sequence], "size": 5}])
            assert next(child.answers())[1] == ["duplicate"]
