"""A plot of the ratios, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Row


def missing_library() -> str | None:
    """Return what is needed to draw, or ``None``."""
    try:
        import matplotlib  # noqa: F401, PLC0415 # only this module needs it
    except ImportError:
        return "needs matplotlib (pip install --editable '.[test,benchmarks]')"
    return None


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw a bar for each row with a ratio; a longer bar is better.

    :param path: the file that is written.
    """
    import matplotlib  # noqa: PLC0415 # see `missing_library`

    matplotlib.use("svg")
    # Texts stay texts, and the file is the same for the same figures.
    settings: dict[Any, Any]
    settings = {"svg.fonttype": "none", "svg.hashsalt": "devlxd", "font.size": 8}
    with matplotlib.rc_context(settings):
        from matplotlib import pyplot  # noqa: PLC0415 # see `missing_library`

        drawn = [(row, row.ratio) for row in rows if row.ratio]
        figure, axes = pyplot.subplots(figsize=(9, 1 + 0.2 * len(drawn)))
        for place, (row, ratio) in enumerate(drawn):
            color = {True: "#3a7d44", False: "#b5483a", None: "#7a8796"}[row.is_met]
            length = better(row, ratio) - 1
            axes.barh(place, length, left=1, color=color, height=0.7)
            if row.goal:
                goal = better(row, row.goal)
                axes.plot([goal, goal], [place - 0.45, place + 0.45], color="black")
        labels = [f"{row.what} / {row.other}" for row, _ in drawn]
        axes.set_yticks(range(len(drawn)), labels=labels)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.axvline(1, color="black", linewidth=0.5)
        axes.set_xlabel("times as good as the other server (green: the goal is met)")
        figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
        pyplot.close(figure)


def better(row: Row, ratio: float) -> float:
    """Return a ratio so that a greater one is better."""
    return 1 / ratio if row.is_less_better else ratio
