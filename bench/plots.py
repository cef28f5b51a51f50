"""Pictures of one setting's results: times the best peer, and share of the limit, by point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from cases import CELLS, DIRECTIONS, GRID, MEANS
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter
from records import BEST, best, in_order, mean, peers, ratio
from store import Record

# What a picture calls each peer, and a colour and a marker told apart by every eye
STYLES = {
    "torch": ("PyTorch", "#D55E00", "D"),
    "onnxruntime": ("ONNX Runtime", "#0072B2", "o"),
    "openvino": ("OpenVINO", "#AA4499", "s"),
    "jax": ("JAX", "#009E73", "^"),
    "reference": ("bptt.reference", "#777777", "v"),
}
INK, SHADE, OURS = "#333333", "#f3f5f7", "#0072B2"
GAP = 1.9  # free places between groups, room for the means' labels
TICKS = [0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200]


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


def _figure(records: list[Record], title: str, lines: list[str]) -> tuple[Any, dict[str, Axes]]:
    """Axes by cell, one row each, the points of all groups side by side beneath."""
    cells = [cell for cell in CELLS if any(r["cell"] == cell for r in records)]
    height = 2.0 + 2.6 * len(cells)
    figure, grid = plt.subplots(
        len(cells), 1, figsize=(13, height), sharex=True, squeeze=False, layout="constrained"
    )
    rough = " (quick, a rough look)" if records[0]["quick"] else ""
    figure.suptitle(f"{title}{rough}\n\n\n", fontsize=14, fontweight="bold", x=0.01, ha="left")
    figure.text(0.01, 1 - 0.45 / height, "\n".join(lines), fontsize=9, color="#555555", va="top")
    rows: dict[str, Axes] = dict(zip(cells, grid[:, 0], strict=True))
    for cell, axes in rows.items():
        axes.set_title(cell.upper(), loc="left", fontweight="bold", fontsize=12)
        axes.grid(axis="y", color="#dddddd", lw=0.6, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
        for group in GRID:
            axes.axvspan(*_ends(group), color=SHADE, zorder=-1)
    for group in GRID:
        grid[0, 0].annotate(
            group if group in MEANS else f"{group} (not in the means)",
            (sum(_ends(group)) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color=INK,
        )
    bottom = grid[-1, 0]
    labels = [name.replace(" ", "\n", 1) for name in PLACES]
    bottom.set_xticks(list(PLACES.values()), labels, rotation=55, ha="right", fontsize=8)
    bottom.set_xlabel("T, N, I, H: steps, sequences, inputs, hidden units")
    bottom.set_xlim(-1, max(PLACES.values()) + 1.2)
    return figure, rows


def _ratios(axes: Axes, found: list[Record]) -> None:
    """The best peer's ratio with its interval; the other peers faint, for the distance to them."""
    for record in found:
        place, winner = PLACES[record["point"]], best(record)
        for peer, value in record["ratios"].items():
            _, colour, marker = STYLES[peer]
            if peer != winner:
                axes.plot(place, value["median"], marker, ms=4, mew=0, c=colour, alpha=0.35)
                continue
            median, low, high = value["median"], value["low"], value["high"]
            axes.errorbar(
                place,
                median,
                yerr=[[median - low], [high - median]],
                fmt=marker,
                color=colour,
                markerfacecolor="white" if record["unsteady"] else colour,
                markersize=7,
                elinewidth=1.3,
                zorder=3,
            )


def _means(axes: Axes, found: list[Record]) -> None:
    """A dashed line and its number for each group."""
    for group in MEANS:
        value = mean(found, BEST, group)
        if value is None:
            continue
        start, end = _ends(group)
        axes.plot([start, end], [value, value], color=INK, lw=1.2, ls=(0, (4, 2)), zorder=2)
        axes.annotate(
            f"{value:.2f}×",
            (end, value),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=9,
            fontweight="bold",
        )


def _legend(axes: Axes, names: list[str]) -> None:
    handles = []
    for name in names:
        label, colour, marker = STYLES[name]
        handles.append(Line2D([], [], color=colour, marker=marker, ls="", ms=7, label=label))
    axes.legend(
        handles=handles,
        ncols=len(handles),
        frameon=False,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.08),
    )


def _ratio_figure(records: list[Record], direction: str, where: str) -> Any:
    title = f"bptt, {direction}: how many times faster than the best other library"
    legend = (
        "large: the best peer at that point, with a 95 % interval; small and faint: others nearby;"
        " dashed: geometric mean of a group; hollow: unsteady; red: slower"
    )
    figure, rows = _figure(records, title, [where, legend])
    for cell, axes in rows.items():
        found = in_order(records, cell, direction)
        axes.set_yscale("log")
        _ratios(axes, found)
        _means(axes, found)
        won = [ratio(record, BEST) for record in found]
        low, high = min(r["low"] for r in won), max(r["high"] for r in won)
        axes.set_ylim(min(low / 1.15, 0.7), max(high * 1.5, 2.5))
        axes.yaxis.set_major_locator(FixedLocator(TICKS))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.axhline(1, color="black", lw=1.4, zorder=2)
        axes.axhspan(axes.get_ylim()[0], 1, color="#fbe9e7", zorder=-0.5)
        axes.set_ylabel("times faster")
    _legend(next(iter(rows.values())), peers(records))
    return figure


def _share_figure(records: list[Record], direction: str, where: str) -> Any:
    title = f"bptt, {direction}: share of what this machine allows"
    legend = "limit: flops at FMA peak + activations at their rate + weights at cache bandwidth"
    figure, rows = _figure(records, title, [where, legend])
    for cell, axes in rows.items():
        found = in_order(records, cell, direction)
        places = [PLACES[r["point"]] for r in found]
        shares = [r["share"] for r in found]
        bars = axes.bar(places, shares, width=0.74, color=OURS, zorder=3)
        labels = [f"{share:.0%}" for share in shares]
        behind = {"facecolor": SHADE, "edgecolor": "none", "pad": 0.4}
        axes.bar_label(bars, labels, fontsize=8, color=INK, padding=2, bbox=behind, zorder=4)
        axes.axhline(1, color="black", lw=1.2, zorder=2)
        axes.set_ylim(0, max(1.12, axes.get_ylim()[1]))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylabel("share of the limit")
    return figure


def draw(records: list[Record], where: str, folder: Path, suffix: str) -> list[Path]:
    """Write ratio-suffix.png and share-suffix.png for each direction measured; their paths."""
    written = []
    for direction in DIRECTIONS:
        found = [r for r in records if r["status"] == "ok" and r["direction"] == direction]
        figures = {"share": _share_figure} if found else {}
        if found and all(r["ratios"] for r in found):
            figures["ratio"] = _ratio_figure
        for name, make in figures.items():
            file = folder / f"{name}-{direction.replace('+', '-')}-{suffix}.png"
            figure = make(found, direction, where)
            figure.savefig(file, dpi=130)
            plt.close(figure)
            written.append(file)
    return written
