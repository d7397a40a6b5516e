"""Accuracy against trained parameters, seconds or bytes, as a figure."""

from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_file
from keras_pointpeft.reports import page


def front(points):
    """Which points no other one beats in both respects.

    Args:
        points: list of pairs: trained parameters and accuracy.

    Returns:
        List of the indices of these points, by rising number of parameters.
    """
    order = sorted(
        range(len(points)), key=lambda i: (points[i][0], -points[i][1])
    )
    best, chosen = float("-inf"), []
    for i in order:
        if points[i][1] > best:
            best = points[i][1]
            chosen.append(i)
    return chosen


@telling("drawing")
def write_png(path, entries, title):
    """Draws the figure with matplotlib.

    Args:
        path: path of the PNG file.
        entries: list of dicts of `"name"`, `"trained_parameters"`, `"mean"`
            and `"std"` (or None), the last two in percent.
        title: string.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    label = "trained parameters, head included"
    _draw(axes, entries, "trained_parameters", label)
    axes.set_title(title)
    # A legend, not labels at the points: those of methods of the same size
    # would cover each other.
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    with whole_file(path) as place:
        figure.savefig(place, dpi=150)


COSTS = {
    "step_seconds": "seconds of a training step",
    "inference_seconds": "seconds of inference",
    "kept_bytes": "bytes kept for the backward pass",
    "adapter_bytes": "bytes of the adapter",
}


@telling("drawing")
def write_costs_png(path, entries, title):
    """Draws accuracy against seconds and bytes with matplotlib.

    Args:
        path: path of the PNG file.
        entries: list of dicts of `"name"`, `"mean"` and `"std"` (or None), in
            percent, and the keys of `COSTS`.
        title: string.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    for axes, (name, label) in zip(panels, COSTS.items()):
        _draw(axes, entries, name, label)
    figure.suptitle(title)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside right center",
        fontsize=8,
        frameon=False,
    )
    with whole_file(path) as place:
        figure.savefig(place, dpi=110)


def _draw(axes, entries, name, label):
    """Accuracy against one cost, a mark for each entry, and the front."""
    points = [(e[name], e["mean"]) for e in entries]
    for number, (entry, point) in enumerate(zip(entries, points)):
        axes.errorbar(
            *point,
            entry["std"] or 0.0,
            fmt="os^Dv"[number // 10 % 5],  # as ten colours are used again
            capsize=3,
            label=f"{entry['name']}  {entry['mean']:.1f}",
        )
    edge = [points[i] for i in front(points)]
    axes.plot(*zip(*edge), color="0.6", linestyle="--", zorder=0)
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("%, mean and deviation over seeds")
    axes.grid(color="0.9")


@telling("drawing")
def write_html(path, entries, title):
    """Draws the figure with plotly, to look at in a browser.

    plotly's script is inside: the page needs no network.

    Args:
        path: path of the HTML file.
        entries: see `write_png`.
        title: string.
    """
    import plotly.graph_objects as graph

    points = [(e["trained_parameters"], e["mean"]) for e in entries]
    edge = [points[i] for i in front(points)]
    figure = graph.Figure()
    figure.add_scatter(
        x=[size for size, _ in edge],
        y=[mean for _, mean in edge],
        mode="lines",
        line={"color": "lightgray", "dash": "dash"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[size for size, _ in points],
        y=[mean for _, mean in points],
        error_y={"array": [entry["std"] or 0.0 for entry in entries]},
        text=[entry["name"] for entry in entries],
        mode="markers+text",
        textposition="top center",
        hovertemplate="%{text}<br>%{x:,} trained<br>%{y:.2f} %<extra></extra>",
    )
    figure.update_layout(
        showlegend=False,
        template="simple_white",
        xaxis={"type": "log", "title": "trained parameters, head included"},
        yaxis={"title": "%, mean and deviation over seeds"},
    )
    body = page.figure(figure, 900, 560)
    with whole_file(path) as place:
        place.write_text(page.whole(title, body), encoding="utf-8")
