"""The oracle bench as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

_BASELINES = ("all-cloud", "all-device", "all-edge", "Neurosurgeon-style", "DADS-style")
_WIDTH = 170


def print_oracle(oracle: dict[str, Any], console: Console) -> None:
    """A table a network, then everything together with what was aimed at."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    for network, figures in oracle["calibration"].items():
        if network != "measured_under":
            rows = [row for row in oracle["results"] if row["network"] == network]
            console.print(_network_table(network, rows))
            console.print(
                f"measured before, under {oracle['calibration']['measured_under']}: {figures}", style="dim"
            )
    console.print(oracle["emulation"], style="dim", soft_wrap=True)
    regret, error, met = oracle["regret"], oracle["prediction_error"], oracle["met"]
    goals = oracle["goals"]
    for text, reached in (
        (
            f"chosen plan over the best measured, median: {regret['median']} (≤ {goals['regret_median']})",
            "regret_median",
        ),
        (f"the same, worst: {regret['worst']} (≤ {goals['regret_worst']})", "regret_worst"),
        (
            f"prediction error, median over all contenders: {error['contenders_median']:.1%} "
            f"(≤ {goals['prediction_error_median']:.0%}); of the chosen plans {error['chosen_median']:.1%}",
            "prediction_error_median",
        ),
    ):
        console.print(f"{'met   ' if met[reached] else 'missed'}  {text}", highlight=False)
    for name, spread in oracle["speed_up"].items():
        if spread:
            console.print(
                f"quicker than {name}: {spread['mean']}× on average, {spread['least']}× to {spread['most']}×",
                highlight=False,
            )


def _network_table(network: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{network}: measured latency in ms, median of several frames", title_justify="left")
    table.add_column("links", overflow="fold")
    table.add_column("chosen plan", overflow="fold")
    for heading in (
        "predicted",
        "chosen",
        "best",
        "over\nbest",
        *(name.replace("-", "-\n", 1) for name in _BASELINES),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        chosen, best = row["chosen"], row["best"]
        table.add_row(
            row["links"].replace(" round trip", "").replace("; ", "\n"),
            chosen["route"],
            f"{chosen['predicted_ms']:.1f}",
            f"{chosen['measured_ms']:.1f}",
            f"{best['measured_ms']:.1f}",
            f"{row['regret']:.3f}",
            *(_baseline(row["plans"], name) for name in _BASELINES),
        )
    return table


def _baseline(plans: list[dict[str, Any]], name: str) -> str:
    found = [plan["measured_ms"] for plan in plans if any(role.startswith(name) for role in plan["roles"])]
    return f"{min(found):.1f}" if found else "–"
