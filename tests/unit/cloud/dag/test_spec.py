"""A pipeline is refused before anything runs, with the line, if a key, reference, argument or type is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from support import dag_steps
from tercet.errors import NotFoundError, SpecError
from tercet.steps.functions import Signature
from tercet.steps.value_types import MappingType, parse_type
from tercet_cloud.dag.checking import check_pipeline, order, read_pipeline
from tercet_cloud.dag.graph import compile_graph
from tercet_cloud.dag.spec import Node, Pipeline

GOOD = """\
name: read-text
inputs: {photo: image}
nodes:
  find:
    call: support.dag_steps:find
    needs: {image: input.photo}
    options: {threshold: 0.3}
    tier: edge
    retries: 2
  crops:
    call: support.dag_steps:anything
    needs: {image: input.photo, boxes: find.boxes}
    when: find.score > 0.2 and len(find.boxes) > 0
    returns: list[image]
  read:
    call: support.dag_steps:read
    needs: {line: crops}
    map: line
    max_concurrency: 8
    priority: high
  text:
    builtin: join
    needs: {parts: "read?"}
    options: {separator: " "}
outputs: {text: text}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_pipeline_is_read_and_is_what_the_python_api_makes(tmp_path: Path) -> None:
    read = read_pipeline(write(tmp_path, GOOD))
    made = (
        Pipeline(name="read-text", inputs={"photo": "image"}, outputs={"text": "text"})
        .node(
            "find",
            call=dag_steps.find,
            needs={"image": "input.photo"},
            options={"threshold": 0.3},
            tier="edge",
            retries=2,
        )
        .node(
            "crops",
            call=dag_steps.anything,
            needs={"image": "input.photo", "boxes": "find.boxes"},
            when="find.score > 0.2 and len(find.boxes) > 0",
            returns="list[image]",
        )
        .node("read", call=dag_steps.read, needs={"line": "crops"}, map="line", max_concurrency=8, priority=100)
        .node("text", builtin="join", needs={"parts": "read?"}, options={"separator": " "})
    )
    assert read == made
    assert order(read) == ["find", "crops", "read", "text"]
    assert read.nodes["text"].upstream() == {"read": False}


def test_a_pipeline_survives_json(tmp_path: Path) -> None:
    read = read_pipeline(write(tmp_path, GOOD))
    assert Pipeline.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("retries: 2", "retry: 2", 9, r"nodes\.find\.retry: unknown key"),
        ("retries: 2", "retries: yes", 9, "must be a number, not true"),
        ("tier: edge", "tier: fog", 8, r"nodes\.find\.tier: must be 'device', 'edge', 'cloud' or 'auto'"),
        ("tier: edge", "tier: device", 4, "says on which, as `at: NAME`"),
        ("max_concurrency: 8", "resources: {cpus: 0.5}", 19, "a call takes a worker, which is one CPU"),
        ("max_concurrency: 8", "resources: {gpus: 2}", 19, "less than or equal to 1"),
        ("max_concurrency: 8", "pool: readers", 19, "no node here says the limit of pool readers"),
        ("priority: high", "priority: urgent", 20, "must be high, medium, low or a number from 0 to 100"),
        ("builtin: join", "builtin: glue", 22, r"no built-in 'glue' \(there: crop, decode, filter"),
        ("builtin: join", "builtin: join\n    call: os:getpid", 21, "not call and builtin"),
        ("boxes: find.boxes", "boxes: seek.boxes", 12, r"no node seek \(there: find, crops, read, text\)"),
        ("image: input.photo, boxes", "image: input.picture, boxes", 12, "no input picture"),
        ("boxes: find.boxes", "boxes: find.lines", 12, r"no key lines \(there: boxes, score\)"),
        ("boxes: find.boxes", 'boxes: "find boxes"', 12, "is not input.NAME, NODE or NODE.KEY"),
        ("find.score > 0.2", "find.score >", 13, "at character 14: a value is expected"),
        ("find.score > 0.2", "lost.score > 0.2", 13, "no node lost"),
        ("find.score > 0.2", "find.colour > 0.2", 13, "no key colour"),
        ("map: line", "map: lines", 15, "map is over lines, which is not in `needs`"),
        ("needs: {line: crops}", "needs: {line: find}", 18, r"line is \{boxes: list\[list\[number\]\], score"),
        ("returns: list[image]", "returns: list[text]", 17, r"text where image is wanted"),
        ("returns: list[image]", "returns: list[picture]", 14, "'picture' where one of any, bytes"),
        ("image: input.photo}", "picture: input.photo}", 6, r"takes no picture \(it takes image, threshold\)"),
        ("image: input.photo}", "threshold: input.photo}", 4, "threshold stands in `needs` and in `options`"),
        ("threshold: 0.3", "threshold: low", 7, "text where number is wanted"),
        ("needs: {image: input.photo}\n", "needs: {}\n", 6, "needs image, which nothing gives"),
        ("inputs: {photo: image}", "inputs: {photo: bytes}", 6, "bytes where image is wanted"),
        ("support.dag_steps:read", "support.dag_steps:reed", 16, "has no reed"),
        ("support.dag_steps:read", "support.lost:read", 16, "cannot import support.lost"),
        ("support.dag_steps:read", "support.dag_steps:only_positional", 16, "cannot be given by name"),
        ("outputs: {text: text}", "outputs: {text: words}", 25, r"outputs\.text: there is no node words"),
        (
            "outputs: {text: text}",
            "events: {found: find.lines}",
            25,
            r"events\.found: find\.lines: there is no key lines",
        ),
        ("name: read-text", "name: Read Text", 1, "name: String should match pattern"),
        ("outputs: {text: text}", "nodes: {}", 25, "this key stands here twice"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert GOOD.count(old) >= 1
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(SpecError, match=message) as caught:
        read_pipeline(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "\n" not in str(caught.value)


def test_nodes_that_wait_for_each_other_are_named(tmp_path: Path) -> None:
    data = yaml.safe_load(GOOD)
    data["nodes"]["find"]["when"] = "text.x > 1"
    path = write(tmp_path, yaml.safe_dump(data))
    with pytest.raises(SpecError, match=r"wait for each other: \w+ ← \w+ ← \w+ ← \w+ ← \w+$"):
        read_pipeline(path)


def test_a_node_that_waits_for_itself_is_a_cycle() -> None:
    with pytest.raises(SpecError, match=r"nodes\.a\.needs\.x: these nodes wait for each other: a ← a"):
        check_pipeline(Pipeline(name="p").node("a", call=dag_steps.count, needs={"x": "a"}))


def test_the_python_api_names_the_node() -> None:
    with pytest.raises(SpecError, match=r"pipeline p: nodes\.a\.colour: unknown key"):
        Pipeline(name="p").node("a", call=dag_steps.find, colour="red")
    with pytest.raises(SpecError, match="node a is there already"):
        Pipeline(name="p").node("a", builtin="join").node("a", builtin="join")
    with pytest.raises(SpecError, match="cannot be imported by a worker"):
        Pipeline(name="p").node("a", call=lambda x: x)


def test_a_pipeline_without_nodes_is_refused() -> None:
    with pytest.raises(SpecError, match="at least one node"):
        check_pipeline(Pipeline(name="p"))


def test_models_say_their_tensors_and_misfits_are_found() -> None:
    signature = Signature(
        {"x": parse_type("tensor[float32, 1, 3, _, _]")},
        frozenset({"x"}),
        False,
        frozenset(),
        MappingType((("scores", parse_type("tensor[float32, 1, 10]")),)),
    )

    def models(node: Node) -> Signature:
        if node.model == "lost":
            raise NotFoundError("model 'lost' is not in the store")
        return signature

    fitting = Pipeline(name="p", inputs={"x": "tensor[float32, 1, 3, 8, 8]"}).node(
        "m", model="net", needs={"x": "input.x"}
    )
    check_pipeline(fitting.node("n", builtin="join", needs={"s": "m.scores"}), models)
    with pytest.raises(SpecError, match=r"nodes\.n\.needs\.s: m\.score: there is no key score"):
        check_pipeline(fitting.node("n", builtin="join", needs={"s": "m.score"}), models)
    with pytest.raises(
        SpecError, match=r"nodes\.n\.needs\.x: tensor\[float32, 1, 10\] where tensor\[float32, 1, 3"
    ):
        check_pipeline(fitting.node("n", model="net", needs={"x": "m.scores"}), models)
    with pytest.raises(SpecError, match=r"nodes\.n\.model: model 'lost' is not in the store"):
        check_pipeline(fitting.node("n", model="lost", needs={"x": "input.x"}), models)


def test_a_skipped_input_may_be_missing_only_where_there_is_a_default() -> None:
    start = Pipeline(name="p", inputs={"x": "image"})
    check_pipeline(start.node("a", call=dag_steps.anything).node("b", call=dag_steps.anything, needs={"y": "a?"}))
    with pytest.raises(SpecError, match="cannot do without boxes"):
        check_pipeline(
            start.node("a", call=dag_steps.anything).node("b", call=dag_steps.count, needs={"boxes": "a?"})
        )


def test_ten_thousand_nodes_are_checked_quickly_enough_to_be_checked_at_all() -> None:
    nodes = {
        f"n{number}": {
            "call": "support.dag_steps:anything",
            "needs": {f"a{before}": f"n{before}" for before in range(max(0, number - 2), number)},
        }
        for number in range(2_000)
    }
    pipeline = Pipeline(name="p").with_nodes(nodes)
    check_pipeline(pipeline)
    assert len(order(pipeline)) == 2_000


def test_nodes_of_a_pool_share_its_limit_also_those_that_do_not_say_it() -> None:
    pipeline = Pipeline(name="p").with_nodes(
        {
            "a": {"call": "os:getpid", "pool": "shared", "max_concurrency": 3},
            "b": {"call": "os:getpid", "pool": "shared"},
            "c": {"call": "os:getpid", "pool": "shared", "max_concurrency": 2},
            "d": {"call": "os:getpid", "max_concurrency": 5},
            "e": {"call": "os:getpid"},
        }
    )
    check_pipeline(pipeline)
    limits = [(step.pool, step.limit) for step in compile_graph(pipeline).steps]
    assert limits == [("shared", 2), ("shared", 2), ("shared", 2), ("p/d", 5), (None, None)]


def test_a_call_on_a_gpu_may_take_less_than_a_cpu() -> None:
    node = Pipeline(name="p").node("a", call="os:getpid", resources={"gpus": 1, "cpus": 0.1}).nodes["a"]
    assert (node.resources.cpus, node.resources.gpus) == (0.1, 1)
