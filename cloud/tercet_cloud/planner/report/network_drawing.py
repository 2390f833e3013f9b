"""The network from input to answer: blocks on the tier that runs them, cuts marked, and what crosses them.

Beside it, row by row, what computing takes on the chosen tier and how much data is alive below the row: the two
figures that decide where a cut is cheap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from tercet_cloud.drawing.markup import Markup, box, clip, element, join, line, picture, short, text, tooltip
from tercet_cloud.drawing.scales import LinearScale
from tercet_cloud.planner.report.network_blocks import Block
from tercet_cloud.planner.report.network_scene import (
    BOX_HEIGHT,
    Band,
    Crossing,
    Cut,
    Placed,
    RowFacts,
    Scene,
    Way,
    arrange,
)
from tercet_cloud.planner.report.plan_report import PlanReport
from tercet_cloud.planner.report.wording import TIERS, in_bytes, in_ms

_LEFT, _NARROWEST, _BESIDE, _COLUMN, _VALUE = 42.0, 260.0, 26.0, 84.0, 58.0
_CHARACTER = 6.4
_LABEL_EVERY = 240.0
_NAME = 60


def draw_network(report: PlanReport) -> Markup:
    """One SVG picture in its natural size."""
    return _Drawing(report, arrange(report)).render()


class _Drawing:
    def __init__(self, report: PlanReport, scene: Scene) -> None:
        self._report = report
        self._scene = scene
        self._graph_width = max(scene.width, _NARROWEST)
        self._shift = _LEFT + (self._graph_width - scene.width) / 2
        self._beside = _LEFT + self._graph_width + _BESIDE
        self._width = self._beside + 2 * (_COLUMN + _VALUE) + 4

    def render(self) -> Markup:
        scene = self._scene
        return picture(
            self._width,
            scene.height + 4,
            f"The network {clip(self._report.model, _NAME)} from input to answer, and the tier that runs each part",
            *(self._band(band) for band in scene.bands),
            *self._columns(),
            *(self._cut(cut) for cut in scene.cuts),
            *(self._lane(source, ways) for source, ways in scene.ways),
            *(self._crossing(cut, crossing) for cut in scene.cuts for crossing in cut.crossings),
            *(self._block(placed, placed.block) for placed in scene.boxes if placed.block),
            self._end(scene.boxes[0], "input", scene.boxes[0].gives),
            self._end(scene.boxes[-1], "answer", self._outputs()),
        )

    def _band(self, band: Band) -> Markup:
        tier = TIERS[band.tier]
        height, middle = band.bottom - band.top, (band.top + band.bottom) / 2
        parts = [
            box(2, band.top, self._width - 4, height, rx=8, class_=f"band {tier}"),
            box(2, band.top, 24, height, rx=8, class_=f"tier {tier}"),
        ]
        labels = max(1, int(height // _LABEL_EVERY))
        for number in range(labels):
            y = band.top + height * (number + 0.5) / labels
            parts.append(
                text(0, 0, tier, class_=f"on-tier on-{tier}", text_anchor="middle", transform=_turned(18, y))
            )
        if band.idle:
            first, second = self._report.chosen.candidate.codecs
            words = "passes frames on as they come" if first == second else "decodes, and codes anew"
            parts.append(text(self._beside, middle + 4, words, class_="soft"))
        return join(parts)

    def _columns(self) -> list[Markup]:
        """What computing takes by row, and what is alive between rows."""
        rows = self._scene.rows
        compute = LinearScale(0, max(row.compute_ms for row in rows) or 1, 0, _COLUMN)
        alive = LinearScale(0, max(row.alive_bytes for row in rows) or 1, 0, _COLUMN)
        second = self._beside + _COLUMN + _VALUE
        parts = [
            text(self._beside, 16, "compute, ms", class_="strong"),
            text(self._beside, 31, "on its tier", class_="soft"),
            text(second, 16, "data if cut here", class_="strong"),
            text(second, 31, "raw, before coding", class_="soft"),
        ]
        for row in rows:
            parts += self._row(row, compute, alive, second)
        return parts

    def _row(self, row: RowFacts, compute: LinearScale, alive: LinearScale, second: float) -> list[Markup]:
        parts = []
        if row.compute_ms:
            width = max(compute(row.compute_ms), 1)
            parts.append(box(self._beside, row.y - 6, width, 12, rx=2, class_=f"tier {TIERS[row.tier]}"))
            parts.append(text(self._beside + width + 5, row.y + 4, in_ms(row.compute_ms).removesuffix(" ms")))
        if row.alive_bytes:
            width = max(alive(row.alive_bytes), 1)
            kind = "alive here" if row.is_cut else "alive"
            parts.append(box(second, row.alive_y - 5, width, 10, rx=2, class_=kind))
            parts.append(text(second + width + 5, row.alive_y + 4, in_bytes(row.alive_bytes)))
        return parts

    def _cut(self, cut: Cut) -> Markup:
        """The strip between two bands: where the link lies, what it takes and what crosses in all."""
        report = self._report
        prediction = report.chosen.prediction
        spent = (prediction.device_edge_ms, prediction.edge_cloud_ms)[cut.link]
        wire = (prediction.device_edge_bytes, prediction.edge_cloud_bytes)[cut.link]
        tensors = [tensor for crossing in cut.crossings for tensor in crossing.tensors]
        raw = sum(report.tensor_bytes.get(report.graph.tensors[tensor].name, 0) for tensor in tensors)
        middle = (cut.top + cut.bottom) / 2
        codec = clip(report.chosen.candidate.codecs[cut.link], 24)
        count = f"{len(tensors)} tensors" if len(tensors) != 1 else "1 tensor"
        return join(
            [
                line(2, middle, self._width - 2, middle, class_="cut"),
                text(
                    self._beside,
                    middle - 25,
                    f"{TIERS[cut.link]} → {TIERS[cut.link + 1]}: {in_ms(spent)}",
                    class_="strong",
                ),
                text(self._beside, middle - 10, f"{count}, coded as {codec}"),
                text(self._beside, middle + 18, f"{in_bytes(raw)} raw → {in_bytes(wire)} on the wire"),
            ]
        )

    def _crossing(self, cut: Cut, crossing: Crossing) -> Markup:
        """A label on the data where it crosses: its bytes as coded, or raw where that is not known."""
        report = self._report
        names = [report.graph.tensors[tensor].name for tensor in crossing.tensors]
        raw = sum(report.tensor_bytes.get(name, 0) for name in names)
        coded = sum(report.coded_bytes[cut.link].get(name, 0) for name in names)
        x, middle = self._shift + crossing.x, (cut.top + cut.bottom) / 2
        said = f"{_listed(names)}: {in_bytes(raw)} raw" + (f", {in_bytes(coded)} coded" if coded else "")
        parts = [tooltip(said), line(x, cut.top, x, cut.bottom, class_="crossing")]
        if cut.room >= 50:
            parts.append(box(x - cut.room / 2, middle - 11, cut.room, 22, rx=11, class_="pill"))
            parts.append(text(x, middle + 4, in_bytes(coded or raw), class_="strong", text_anchor="middle"))
        else:
            parts.append(element("circle", cx=x, cy=middle, r=min(cut.room / 2, 4), class_="pill"))
        return element("g", *parts)

    def _lane(self, source: int, ways: Sequence[Way]) -> Markup:
        tensors = [self._report.graph.tensors[tensor] for tensor in self._scene.boxes[source].gives]
        size = sum(self._report.tensor_bytes.get(tensor.name, 0) for tensor in tensors)
        words = f"{_listed([tensor.name for tensor in tensors])}: {in_bytes(size)} raw"
        path = "".join(_curve(way, self._shift) for way in ways)
        return element("path", tooltip(words), d=path, class_="lane")

    def _block(self, placed: Placed, block: Block) -> Markup:
        operations = [self._report.operations[index] for index in block.operations]
        spent = [sum(operation.tier_ms[tier] for operation in operations) for tier in range(3)]
        kinds = Counter(operation.op_type for operation in operations)
        heavy = Counter[str]()
        for operation in operations:
            heavy[operation.op_type] += round(sum(operation.tier_ms) * 1e6)
        main = max(kinds, key=lambda kind: (heavy[kind], kinds[kind]))
        first, last = clip(operations[0].name, _NAME), clip(operations[-1].name, _NAME)
        said = (
            f"{first}{f' … {last}' if len(operations) > 1 else ''}\n"
            f"{', '.join(f'{count} {clip(kind, 30)}' for kind, count in kinds.most_common(8))}\n"
            f"runs on {TIERS[block.tier]}; by tier: "
            f"{', '.join(f'{tier} {in_ms(ms)}' for tier, ms in zip(TIERS, spent, strict=True))}\n"
            f"weights {in_bytes(sum(operation.weights_bytes for operation in operations))}"
        )
        x, words = (
            self._shift + placed.x,
            _label(main, kinds[main], len(operations), in_ms(spent[block.tier]), placed.width),
        )
        return element(
            "g",
            tooltip(said),
            box(
                x - placed.width / 2,
                placed.y - 12,
                placed.width,
                BOX_HEIGHT,
                rx=5,
                class_=f"block {TIERS[block.tier]}",
            ),
            text(x, placed.y + 4, words, text_anchor="middle"),
        )

    def _end(self, placed: Placed, word: str, tensors: Sequence[int]) -> Markup:
        names = [self._report.graph.tensors[tensor].name for tensor in tensors]
        size = in_bytes(sum(self._report.tensor_bytes.get(name, 0) for name in names))
        x = self._shift + placed.x
        return element(
            "g",
            tooltip(f"{word}: {_listed(names)}, {size} raw"),
            box(x - placed.width / 2, placed.y - 12, placed.width, BOX_HEIGHT, rx=12, class_="end"),
            text(x, placed.y + 4, f"{word}, {size}", text_anchor="middle"),
        )

    def _outputs(self) -> list[int]:
        return [index for index, tensor in enumerate(self._report.graph.tensors) if tensor.is_output]


def _label(main: str, times: int, total: int, spent: str, width: float) -> str:
    """The longest that fits: what computes most and time, number and time, one of both, nothing."""
    main = clip(main, 22)
    named = main if total == 1 else f"{total} ops, {f'{times} ' if times > 1 else ''}{main}"
    choices = (f"{named} · {spent}", f"{total} ops · {spent}" if total > 1 else named, spent, "")
    return next(words for words in choices if len(words) * _CHARACTER <= width - 6)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(clip(name, _NAME) for name in names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


def _curve(way: Way, shift: float) -> str:
    x, y = way.points[0]
    path = f"M{short(x + shift)} {short(y)}"
    for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(way.points)):
        end = f"{short(to_x + shift)} {short(to_y)}"
        if abs(x - to_x) < 0.5 or number % 2:
            path += f"L{end}"
        else:
            middle = short((y + to_y) / 2)
            path += f"C{short(x + shift)} {middle} {short(to_x + shift)} {middle} {end}"
    return path


def _turned(x: float, y: float) -> str:
    return f"translate({short(x)} {short(y)}) rotate(-90)"
