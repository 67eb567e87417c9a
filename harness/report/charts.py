"""Charts as SVG, drawn by matplotlib and coloured by the page.

Every colour is one of the names below. matplotlib draws each name in a colour code of its own, which is then replaced
by the page's CSS variable, so that one drawing serves light, dark and print.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.figures.intervals import Interval
from harness.report.formatting import strip_control_characters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = (
    "ink", "muted", "grid", "paper", "good", "bad", "doubt", "m1", "m2", "m3", "m4", "s1", "s2", "s3", "s4", "s5", "s6",
)  # fmt: skip
COLOURS = {name: f"#c0ffe{number:x}" if number < 16 else f"#c0ffd{number - 16:x}" for number, name in enumerate(NAMES)}
WIDTH = 4.1  # inches: 394 px of a page, so that letters keep their size on a telephone
MAX_POINTS = 250  # drawn samples of a model; more are thinned evenly, but for outliers
MAX_TICKS = 8
MAX_MARKED = 150
MAX_INTERVAL = 2  # drawn length of an interval, in lengths of the longest bar
MAX_LABEL = 36
BOX: dict[str, Any] = {
    "orientation": "horizontal", "widths": 0.66, "showfliers": False, "whis": 0, "showcaps": False,
    "whiskerprops": {"linewidth": 0},
}  # fmt: skip
STYLE = Path(__file__).with_name("charts.mplstyle")
COLOURED: dict[Any, str] = {
    "text.color": "ink", "axes.edgecolor": "grid", "axes.labelcolor": "muted", "grid.color": "grid",
    "xtick.color": "grid", "xtick.labelcolor": "muted", "ytick.color": "grid", "ytick.labelcolor": "ink",
}  # fmt: skip


class Bar(msgspec.Struct, frozen=True):
    """A bar of parts (label, length, colour); `ends` is the interval of its end, `note` stands behind it."""

    label: str
    parts: tuple[tuple[str, float, str], ...]
    ends: Interval | None = None
    note: str = ""


class Group(msgspec.Struct, frozen=True):
    """Points of one colour; `named`: labels of single points, by index; `dashed`: the curve is dashed."""

    label: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    named: Mapping[int, str] = {}
    dashed: bool = False


def bars(rows: Sequence[Bar], x_label: str) -> str:
    """Return horizontal bars of seconds from zero, the first row on top."""
    longest = max(sum(length for _, length, _ in row.parts) for row in rows)
    # A very long interval is cut, and drawn without its end: else it would dwarf the bars.
    farthest = MAX_INTERVAL * longest
    with _axes(0.87 + 0.3 * len(rows)) as (axes, svg):
        seen: set[str] = set()
        for place, row in enumerate(rows):
            left = 0.0
            for label, length, colour in row.parts:
                shown = "_" if label in seen else _plain(label)
                seen.add(label)
                axes.barh(place, length, 0.62, left=left, color=COLOURS[colour], label=shown)
                left += length
            end = max(left, min(row.ends.high, farthest)) if row.ends else left
            if row.ends:
                axes.plot([row.ends.low, end], [place, place], color=COLOURS["ink"], linewidth=1.1)
                ends = [row.ends.low, row.ends.high] if row.ends.high <= farthest else [row.ends.low]
                axes.plot(ends, [place] * len(ends), "|", color=COLOURS["ink"], markersize=5)
            axes.annotate(_plain(row.note), (end, place), (4, 0), textcoords="offset points", va="center")
        _rows(axes, [row.label for row in rows])
        axes.set_xlim(0, 1.16 * max([longest, *(min(row.ends.high, farthest) for row in rows if row.ends)]))
        _seconds(axes, longest, x_label)
        _legend(axes)
    return svg[0]


def strips(groups: Sequence[Group], x_label: str) -> str:
    """Return points for all x of each group, with a box over the middle half, the median, and labels of `named`."""
    with _axes(0.62 + 0.55 * len(groups)) as (axes, svg):
        for place, group in enumerate(groups):
            colour = COLOURS[group.colour]
            step = -(-len(group.x) // MAX_POINTS)
            shown = sorted({*range(0, len(group.x), max(step, 1)), *group.named})
            # A fixed pattern, not random: the same record gives the same page.
            heights = [place + 0.26 * ((7 * each % 11) / 5 - 1) for each in range(len(shown))]
            values = [group.x[each] for each in shown]
            axes.plot(values, heights, "o", color=colour, markersize=3, alpha=0.55, markeredgewidth=0)
            if len(group.x) > 3:
                middle, box = {"color": colour, "linewidth": 2}, {"color": colour, "linewidth": 1}
                axes.boxplot([list(group.x)], positions=[place], medianprops=middle, boxprops=box, **BOX)
            for index, label in group.named.items():
                at, style = (group.x[index], place), {"ha": "center", "fontsize": 7.5, "color": COLOURS["muted"]}
                axes.annotate(_plain(label), at, (0, 11), textcoords="offset points", **style)
                edge = {"markeredgecolor": COLOURS["ink"], "markeredgewidth": 0.8}
                axes.plot(*at, "o", color=colour, markersize=5, **edge)
        _rows(axes, [group.label for group in groups])
        axes.set_xlim(left=0)
        _seconds(axes, max(max(group.x) for group in groups), x_label)
    return svg[0]


def curves(groups: Sequence[Group], x_label: str, y_label: str, *, both: bool = False) -> str:
    """Return lines over a logarithmic x axis; y begins at zero, or is logarithmic with `both`."""
    with _axes(2.5) as (axes, svg):
        for group in groups:
            style = {"color": COLOURS[group.colour], "label": _plain(group.label)}
            axes.plot(group.x, group.y, "--" if group.dashed else "o-", markersize=4, linewidth=1.6, **style)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if both:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        else:
            axes.set_ylim(bottom=0)
        places = sorted({each for group in groups for each in group.x})
        ticks = places[:: -(-len(places) // MAX_TICKS)]
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{each:g}" for each in ticks])
        axes.minorticks_off()
        _legend(axes)
    return svg[0]


def line(
    groups: Sequence[Group], y_label: str, breaks: Sequence[float], levels: Sequence[Group], bounds: Mapping[str, float]
) -> str:
    """Return a figure over sessions: lines of groups and levels, `breaks` as vertical lines, `bounds` by colour."""
    with _axes(1.35) as (axes, svg):
        for group in groups:
            marker = "" if len(group.x) > MAX_MARKED else "o"
            axes.plot(group.x, group.y, color=COLOURS[group.colour], linewidth=0.9, marker=marker, markersize=2)
        for level in levels:
            axes.plot(level.x, level.y, color=COLOURS[level.colour], linewidth=2)
        values = [each for group in groups for each in group.y]
        lowest, highest = min(values), max(values)
        room = 0.08 * (highest - lowest or abs(highest) or 1.0)
        axes.set_ylim(lowest - room, highest + room)
        for place in breaks:
            axes.axvline(place, color=COLOURS["doubt"], linestyle=":", linewidth=1)
        for name, bound in bounds.items():  # does not widen the axis: a distant bound would flatten the lines
            axes.axhline(bound, color=COLOURS[name], linestyle="--", linewidth=0.9)
        axes.yaxis.set_major_formatter("{x:.4g}")
        axes.locator_params(axis="y", nbins=4)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(y_label)
    return svg[0]


def roofline(groups: Sequence[Group], bytes_per_s: float, operations_per_s: Mapping[str, float]) -> str:
    """Return points below a device's roofs on logarithmic axes: its bandwidth, and its rate by number type."""
    with _axes(3.3) as (axes, svg):
        across = [x for group in groups for x in group.x] or [1.0]
        left = 0.3 * min(across)
        right = 3 * max(*across, *(rate / bytes_per_s for rate in operations_per_s.values()))
        for dtype, rate in operations_per_s.items():
            roof = [left * bytes_per_s / 1e12, rate / 1e12, rate / 1e12]
            axes.plot([left, rate / bytes_per_s, right], roof, color=COLOURS["muted"], linewidth=1.4)
            style = {"ha": "right", "fontsize": 7.5, "color": COLOURS["muted"]}
            axes.annotate(_plain(dtype), (right, roof[-1]), (0, 3), textcoords="offset points", **style)
        for group in groups:
            axes.plot(group.x, group.y, "o", color=COLOURS[group.colour], markersize=5, label=_plain(group.label))
            for place, label in group.named.items():
                at, style = (group.x[place], group.y[place]), {"fontsize": 7.5, "color": COLOURS["muted"]}
                axes.annotate(_plain(label), at, (5, -3), textcoords="offset points", **style)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(left, right)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("operations per byte")
        axes.set_ylabel("TFLOP/s")
        axes.minorticks_off()
        _legend(axes)
    return svg[0]


@contextmanager
def _axes(height: float) -> Iterator[tuple[Any, list[str]]]:
    """Yield axes to draw on, and a list that holds the SVG after the block."""
    # Imported late: matplotlib takes about a second.
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(mpl.rc_params_from_file(STYLE, use_default_template=False)):
        mpl.rcParams.update({setting: COLOURS[name] for setting, name in COLOURED.items()})
        figure = Figure(figsize=(WIDTH, height))
        canvas: Any = FigureCanvasSVG(figure)  # parts of matplotlib have no annotations
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        svg: list[str] = []
        yield axes, svg
        content = io.StringIO()
        canvas.print_svg(content, metadata={"Date": None})  # savefig would draw everything twice
        svg.append(_for_a_page(content.getvalue()))


def _for_a_page(svg: str) -> str:
    """Return the SVG without the parts that only a stand-alone file needs, with the page's colours and fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-zA-Z]+_\d+"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 var(--letters)", svg)
    svg = re.sub(r"\n\s*", " ", svg)
    for name, number in COLOURS.items():
        svg = svg.replace(number, f"var(--{name})")
    return svg


def _rows(axes: "Axes", labels: Sequence[str]) -> None:
    """Label the rows, the first one on top."""
    axes.set_yticks(range(len(labels)), [_plain(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _legend(axes: "Axes") -> None:
    """Draw the legend above the axes, in as many lines as it needs; the figure grows by each further line."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max(len(label) for label in labels)
    fits = sum(0.31 + 0.066 * len(label) for label in labels) < WIDTH - 0.2  # inches, roughly
    columns = len(labels) if fits else max(1, min(len(labels), int((WIDTH - 0.4) / (0.31 + 0.066 * longest))))
    lines = -(-len(labels) // columns)
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes are on a figure"
    figure.set_figheight(figure.get_figheight() + 0.17 * (lines - 1))
    # Aligned to the figure's edge, not the axes': else long row labels push the last entries out.
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, handletextpad=0.3)


def _seconds(axes: "Axes", longest: float, x_label: str) -> None:
    """Label the x axis in seconds, or in milliseconds below 10 s."""
    factor, unit = (1, "s") if longest >= 10 else (1000, "ms")
    axes.xaxis.set_major_formatter(lambda value, _: f"{factor * value:g}")
    axes.set_xlabel(f"{unit} {x_label}")


def _plain(label: str) -> str:
    """Return a label as one line without control characters, cut to MAX_LABEL."""
    plain = " ".join(strip_control_characters(label).split())
    return plain if len(plain) <= MAX_LABEL else plain[: MAX_LABEL - 1] + "…"
