"""Pictures of one setting's results: times PyTorch, and share of the limit, point by point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from cases import CELLS, DIRECTIONS, GRID, MEANS
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter
from report import in_order, mean
from store import Record

PEER = "torch"
COLOURS = dict(zip(DIRECTIONS, ("#0072B2", "#D55E00"), strict=True))  # told apart by every eye
MARKERS = dict(zip(DIRECTIONS, ("o", "D"), strict=True))
SHIFT = dict(zip(DIRECTIONS, (-0.14, 0.14), strict=True))  # side by side on one point
GAP = 1.5  # free places between groups, room for the means' labels
TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]

Draw = Callable[[Axes, list[Record], str, str], None]  # axes, records, cell, direction


def _positions() -> dict[str, float]:
    """Where each point stands on the x axis."""
    places, x = {}, 0.0
    for group, cases in GRID.items():
        for case in cases:
            places[case.name] = x
            x += 1.0 if group in MEANS else 1.5  # the longer labels
        x += GAP
    return places


PLACES = _positions()


def _ends(group: str) -> tuple[float, float]:
    places = [PLACES[case.name] for case in GRID[group]]
    return places[0] - 0.6, places[-1] + 0.6


def _ratios(axes: Axes, records: list[Record], cell: str, direction: str) -> None:
    for unsteady in (False, True):
        found = [r for r in in_order(records, cell, direction) if r["unsteady"] == unsteady]
        if found or not unsteady:  # the filled markers are the legend's
            _markers(axes, found, direction, fill="white" if unsteady else COLOURS[direction])


def _markers(axes: Axes, found: list[Record], direction: str, fill: str) -> None:
    colour, shift = COLOURS[direction], SHIFT[direction]
    ratios = [r["ratios"][PEER] for r in found]
    axes.errorbar(
        [PLACES[r["point"]] + shift for r in found],
        [r["median"] for r in ratios],
        yerr=[
            [r["median"] - r["low"] for r in ratios],
            [r["high"] - r["median"] for r in ratios],
        ],
        fmt=MARKERS[direction],
        color=colour,
        markerfacecolor=fill,
        markersize=5.5,
        elinewidth=1.2,
        label=direction if fill == colour else None,
        zorder=3,
    )


def _means(axes: Axes, records: list[Record], cell: str) -> None:
    """A dashed line and its number for each group and direction; close numbers move apart."""
    for group in MEANS:
        start, end = _ends(group)
        found = {d: mean(in_order(records, cell, d), PEER, [group]) for d in DIRECTIONS}
        values = {d: value for d, value in found.items() if value is not None}
        low, high = min(values.values(), default=1.0), max(values.values(), default=1.0)
        apart = 5 if high < 1.35 * low else 0
        for direction, value in values.items():
            colour = COLOURS[direction]
            axes.plot([start, end], [value, value], color=colour, lw=1.2, ls=(0, (4, 2)), zorder=2)
            axes.annotate(
                f"{value:.1f}×",
                (end, value),
                xytext=(3, apart if value == high else -apart),
                textcoords="offset points",
                va="center",
                color=colour,
                fontsize=8.5,
                fontweight="bold",
            )


def _shares(axes: Axes, records: list[Record], cell: str, direction: str) -> None:
    found = in_order(records, cell, direction)
    axes.bar(
        [PLACES[r["point"]] + 1.4 * SHIFT[direction] for r in found],
        [r["share"] for r in found],
        width=0.38,
        color=COLOURS[direction],
        label=direction,
        zorder=3,
    )


def _figure(
    records: list[Record], title: str, where: str, draw: Draw
) -> tuple[Any, dict[Axes, str]]:
    """Axes by cell, one row each, the points of all groups side by side beneath."""
    cells = [cell for cell in CELLS if any(r["cell"] == cell for r in records)]
    height = 1.9 + 2.7 * len(cells)
    figure, grid = plt.subplots(
        len(cells),
        1,
        figsize=(13, height),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    rows: dict[Axes, str] = dict(zip(grid[:, 0], cells, strict=True))
    top, bottom = grid[0, 0], grid[-1, 0]
    rough = " (quick, a rough look)" if records[0]["quick"] else ""
    figure.suptitle(f"{title}{rough}\n\n", fontsize=14, fontweight="bold", x=0.01, ha="left")
    figure.text(0.01, 1 - 0.47 / height, where, fontsize=9, color="#555555", va="top")
    for axes, cell in rows.items():
        for direction in DIRECTIONS:
            draw(axes, records, cell, direction)
        axes.set_title(cell.upper(), loc="left", fontweight="bold", fontsize=12)
        axes.grid(axis="y", color="#dddddd", lw=0.6, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
        for group in GRID:
            axes.axvspan(*_ends(group), color="#f3f5f7", zorder=-1)
    for group in GRID:
        top.annotate(
            group if group in MEANS else f"{group} (not in the means)",
            (sum(_ends(group)) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color="#333333",
        )
    top.legend(loc="upper right", ncols=2, frameon=False, bbox_to_anchor=(1, 1.34))
    labels = [name.replace(" ", "\n", 1) for name in PLACES]
    bottom.set_xticks(list(PLACES.values()), labels, rotation=55, ha="right", fontsize=8)
    bottom.set_xlabel("T, N, I, H: steps, sequences, inputs, hidden units")
    bottom.set_xlim(-1, max(PLACES.values()) + 1.2)
    return figure, rows


def _ratio_figure(records: list[Record], where: str) -> Any:
    version = records[0]["versions"][PEER]
    title = f"bptt against PyTorch {version}: how many times faster"
    legend = "dashed: geometric mean of a group; bars: 95 % interval; hollow: unsteady; red: slower"
    figure, rows = _figure(records, title, f"{where}\n{legend}", _ratios)
    for axes, cell in rows.items():
        axes.set_yscale("log")
        _means(axes, records, cell)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0.8) / 1.1, max(high, 2.2) * 1.1)
        axes.yaxis.set_major_locator(FixedLocator(TICKS))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.axhline(1, color="black", lw=1.4, zorder=2)
        axes.axhspan(axes.get_ylim()[0], 1, color="#fbe9e7", zorder=-0.5)
        axes.set_ylabel("times PyTorch")
    return figure


def _share_figure(records: list[Record], where: str) -> Any:
    title = "bptt: share of what this machine allows"
    legend = "limit: flops at FMA peak + activations at their rate + weights at cache bandwidth"
    figure, rows = _figure(records, title, f"{where}\n{legend}", _shares)
    for axes in rows:
        axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylabel("share of the limit")
    return figure


def draw(records: list[Record], where: str, folder: Path, suffix: str) -> list[Path]:
    """Write ratio-suffix.png (where PyTorch was timed) and share-suffix.png; their paths."""
    records = [r for r in records if r["status"] == "ok"]
    figures = {"share": _share_figure} if records else {}
    if records and all(PEER in r["ratios"] for r in records):
        figures["ratio"] = _ratio_figure
    written = []
    for name, make in figures.items():
        file = folder / f"{name}-{suffix}.png"
        figure = make(records, where)
        figure.savefig(file, dpi=130)
        plt.close(figure)
        written.append(file)
    return written
