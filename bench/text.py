"""Numbers and tables as text, in one way for the probe and the report."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], words: Sequence[int] = ()) -> str:
    """Rows, the header first, as a Markdown table whose columns also line up in a terminal.

    The columns `words` are aligned to the left, the others, numbers, to the right.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    aligned = [
        [
            c.ljust(w) if i in words else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    ends = [":-" if i in words else "-:" for i in range(len(widths))]
    rule = [end[0] + "-" * width + end[1] for end, width in zip(ends, widths, strict=True)]
    lines = ["| " + " | ".join(row) + " |" for row in aligned]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]])


def seconds(value: float) -> str:
    """A time with three digits and the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{_three(value / size)} {unit}"
    return f"{_three(value / 1e-6)} µs"


def _three(value: float) -> str:
    """Three digits, as many of them behind the point as that leaves."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
