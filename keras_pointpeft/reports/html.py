"""The report as one HTML page that needs no network, by plotly."""

import base64
import json
import pathlib

import numpy as np

from keras_pointpeft.reports import palette
from keras_pointpeft.reports.page import figure
from keras_pointpeft.reports.page import section
from keras_pointpeft.reports.page import table
from keras_pointpeft.reports.page import whole

# Points of a cloud that a browser draws, at most.
MOST_POINTS = 2048


def write(found, path):
    """Writes a report.

    plotly's script is inside, once: the page asks for nothing from outside.

    Args:
        found: `keras_pointpeft.reports.findings.Findings`.
        path: path of the HTML file.
    """
    sections = [
        section("Learning curves", CURVES_TEXT, _curves(found)),
        section(
            "Right and wrong",
            f"On the test split, {found.counted} counted; one pass, no votes.",
            _confusion(found) + _classes(found),
        ),
        section(
            "What trains",
            palette.share_text(found.summary) + ". " + MEMORY_TEXT,
            _parameters(found.summary)
            + table(memory_rows(found.summary), "numbers"),
        ),
        section(
            "Parts that do nothing",
            DEAD_TEXT,
            table([(text,) for text in found.dead] or [(ALIVE_TEXT,)])
            + table(live_rows(found.live), "numbers"),
        ),
        section("Features before and after", FEATURES_TEXT, _features(found)),
        section(
            "What each block does",
            blocks_text(found),
            _scales(found) + viewer("blocks", _block_views(found)),
        ),
        section(
            "Nearest samples of the bank",
            NEAREST_TEXT,
            viewer("nearest", _nearest_views(found)),
        ),
        section(
            "Labels of points", PARTS_TEXT, viewer("parts", _part_views(found))
        ),
    ]
    body = table(found.facts, "facts") + "".join(sections)
    pathlib.Path(path).write_text(whole(found.title, body), encoding="utf-8")


CURVES_TEXT = "Figures of each epoch, as written to log.csv."
MEMORY_TEXT = (
    "In training a trained parameter takes four times its size: value, "
    "gradient and the optimizer's two moments. A frozen one takes its value."
)
DEAD_TEXT = (
    "Trained weights and gates that are 0 everywhere, parts that are 0 for "
    "every token of the clouds below, and how much of a bank is read. The "
    "table: of each part, the share of tokens in % that get something "
    "through it; of a weight, of its entries."
)
ALIVE_TEXT = "None was found."
FEATURES_TEXT = (
    "t-SNE of clouds of the test split. Distances between groups mean little "
    "there; the numbers above are of the features themselves: for how many "
    "clouds the five nearest neighbours vote for the right class."
)
NEAREST_TEXT = (
    "Point-PEFT makes its prompts of the bank's entries that are most like "
    "the cloud, as the frozen backbone sees it. Left the cloud, beside it the "
    "training clouds of the nearest entries, with the cosine."
)
PARTS_TEXT = (
    "Left the true ones, in the middle the predicted ones, right what is "
    "wrong, in red."
)


def blocks_text(found):
    text = (
        f"Points coloured by the attention of {found.looks} to the patch "
        "that they are in. "
    )
    if found.scale_range is not None:
        text += (
            "Left, the scale that the method gives each token in this block: "
            "how much the patch's adapter output counts; a block "
            "with 0 everywhere adds nothing. "
        )
    return text + "Drag to rotate, scroll to zoom."


def live_rows(live):
    """Blocks' parts and the share that they let through, in %, by time."""
    places = [
        (block, part)
        for block, own in next(iter(live.values()), {}).items()
        for part in own
    ]
    if not places:
        return []
    rows = [("block", "part", *live)]
    for block, part in places:
        shares = [shares.get(block, {}).get(part) for shares in live.values()]
        texts = ["-" if x is None else f"{100 * x:.0f}" for x in shares]
        rows.append((block.replace("_", " "), part, *texts))
    return rows


def memory_rows(summary):
    """Component, parameters, megabytes stored and in training."""
    rows = [("component", "parameters", "MB stored", "MB in training")]
    frozen = summary["total"] - summary["trainable"]
    for name, size, factor in (
        *((name, size, 4) for name, size in palette.components(summary)),
        ("frozen", frozen, 1),
    ):
        stored = 4 * size / 1e6
        rows.append(
            (name, f"{size:,}", f"{stored:.2f}", f"{stored * factor:.2f}")
        )
    return rows


def _curves(found):
    from plotly.subplots import make_subplots

    if not found.history:
        return ""
    panels = palette.curve_names(found.history)
    rows = -(-len(panels) // 3)
    drawn = make_subplots(
        rows, 3, subplot_titles=[title for title, _ in panels]
    )
    epochs = [row["epoch"] + 1 for row in found.history]
    for i, (title, names) in enumerate(panels):
        for name, label in names:
            drawn.add_scatter(
                x=epochs,
                y=[row.get(name) for row in found.history],
                mode="lines+markers",
                name=label,
                legendgroup=label,
                showlegend=i == 0,
                line={
                    "color": palette.BLUE
                    if label == "training"
                    else palette.RED
                },
                row=i // 3 + 1,
                col=i % 3 + 1,
            )
        drawn.update_xaxes(title="epoch", row=i // 3 + 1, col=i % 3 + 1)
        drawn.update_yaxes(title=title, row=i // 3 + 1, col=i % 3 + 1)
    return figure(drawn, 1140, 330 * rows)


def _confusion(found):
    import plotly.graph_objects as graph

    names = list(found.class_names)
    shares = palette.row_percent(found.confusion)
    drawn = graph.Figure(
        graph.Heatmap(
            z=shares,
            x=names,
            y=names,
            customdata=found.confusion,
            zmin=0,
            zmax=100,
            colorscale="Blues",
            hovertemplate="true %{y}<br>predicted %{x}<br>%{z:.1f} %, "
            "%{customdata}<extra></extra>",
            colorbar={"title": "%"},
        )
    )
    drawn.update_layout(
        title="Confusion, rows in %",
        xaxis={
            "title": "predicted",
            "type": "category",
            "tickangle": -90,
            "automargin": True,
        },
        yaxis={
            "title": "true",
            "type": "category",
            "autorange": "reversed",
            "automargin": True,
        },
    )
    if len(names) > 30:
        drawn.update_xaxes(tickfont_size=8, dtick=1)
        drawn.update_yaxes(tickfont_size=8, dtick=1)
    size = min(max(460, 22 * len(names) + 180), 1000)
    return figure(drawn, size + 60, size)


def _classes(found):
    import plotly.graph_objects as graph

    order, values, names = palette.sorted_classes(found)
    counts = found.confusion.sum(axis=1)[order]
    drawn = graph.Figure(
        graph.Bar(
            x=values,
            y=names,
            orientation="h",
            marker_color=palette.BLUE,
            customdata=counts,
            hovertemplate="%{y}: %{x:.1f} %, %{customdata} "
            + found.counted
            + "<extra></extra>",
        )
    )
    drawn.update_layout(
        title=f"{found.measure} by class in %, worst first",
        xaxis={"range": [0, 100], "title": f"{found.measure} in %"},
        yaxis={"type": "category", "autorange": "reversed", "automargin": True},
    )
    return figure(drawn, 440, max(320, 20 * len(names) + 140))


def _parameters(summary):
    import plotly.graph_objects as graph

    rows = palette.components(summary)
    drawn = graph.Figure(
        graph.Bar(
            x=[size for _, size in rows],
            y=[name for name, _ in rows],
            text=[f"{size:,}" for _, size in rows],
            textposition="outside",
            cliponaxis=False,
            orientation="h",
            marker_color=palette.BLUE,
        )
    )
    drawn.update_layout(
        title="Trained parameters",
        yaxis={"autorange": "reversed", "automargin": True},
        xaxis={
            "range": [0, 1.2 * max(size for _, size in rows)],
            "title": "trained parameters",
        },
    )
    return figure(drawn, 640, 60 * len(rows) + 140)


def _features(found):
    from plotly.subplots import make_subplots

    if found.features is None:
        return ""
    drawn = make_subplots(
        1, 2, subplot_titles=palette.feature_titles(found.features)
    )
    both = (found.features.before, found.features.after)
    for label, name in enumerate(found.features.class_names):
        mine = found.features.labels == label
        for i, xy in enumerate(both):
            drawn.add_scatter(
                x=xy[mine, 0],
                y=xy[mine, 1],
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=i == 0 and bool(mine.any()),
                marker={
                    "color": palette.color(label),
                    "symbol": palette.MARKERS[label // 20 % 3][1],
                    "size": 6,
                },
                hovertemplate=name + "<extra></extra>",
                row=1,
                col=i + 1,
            )
    drawn.update_layout(legend_font_size=10)
    drawn.update_xaxes(showticklabels=False, ticks="")
    drawn.update_yaxes(showticklabels=False, ticks="")
    return figure(drawn, 1150, 520)


def _scales(found):
    import plotly.graph_objects as graph

    if found.scale_range is None:
        return ""
    mean, deviation = found.scale_range.T
    drawn = graph.Figure(
        graph.Scatter(
            x=[f"block {i + 1}" for i in range(len(mean))],
            y=mean,
            error_y={"array": deviation},
            mode="lines+markers",
        )
    )
    drawn.update_layout(
        title="Scale of a token, mean and deviation over the clouds below",
        yaxis={"rangemode": "tozero", "title": "scale of a token"},
    )
    return figure(drawn, 640, 320)


def viewer(name, data):
    """A 3D view with a choice of the cloud, and of the block if there are."""
    if not data["clouds"]:
        return ""
    text = json.dumps(data).replace("</", "<\\/")
    return (
        f'<div class="viewer" id="{name}"></div>'
        f'<script>showClouds("{name}", {text});</script>'
    )


def _block_views(found):
    clouds = []
    for view in found.clouds:
        panels = []
        if view.scales:
            panels.append(("scale of a token", view.scales))
        panels.append((f"attention of {found.looks}", view.attention))
        keep = _kept(view.points)
        clouds.append(
            {
                "title": view.title,
                "panels": [
                    {
                        "title": title,
                        "points": _packed(view.points[keep]),
                        "values": [_packed(row[keep]) for row in rows],
                    }
                    for title, rows in panels
                ],
            }
        )
    steps = [f"block {i + 1}" for i in range(len(found.block_names))]
    return {"clouds": clouds, "steps": steps}


def _nearest_views(found):
    clouds = []
    for view in found.clouds:
        if not view.nearest:
            continue
        shown = [(view.points, "the cloud"), *view.nearest]
        panels = [
            {
                "title": title,
                "points": _packed(points[_kept(points)]),
                "color": palette.GRAY if i else palette.BLUE,
            }
            for i, (points, title) in enumerate(shown)
        ]
        clouds.append({"title": view.title, "panels": panels})
    return {"clouds": clouds, "steps": []}


def _part_views(found):
    clouds = []
    for view in found.clouds:
        if view.parts is None:
            continue
        keep = _kept(view.points)
        points = _packed(view.points[keep])
        true, predicted = (labels[keep] for labels in view.parts)
        wrong = np.where(true == predicted, palette.GRAY, palette.RED)
        panels = [
            ("true", [palette.color(label) for label in true], true),
            ("predicted", [palette.color(x) for x in predicted], predicted),
            ("wrong in red", wrong.tolist(), predicted),
        ]
        clouds.append(
            {
                "title": view.title,
                "legend": palette.legend(view.parts, found.class_names),
                "panels": [
                    {
                        "title": title,
                        "points": points,
                        "color": colors,
                        "names": [found.class_names[i] for i in labels],
                    }
                    for title, colors, labels in panels
                ],
            }
        )
    return {"clouds": clouds, "steps": []}


def _kept(points):
    count = len(points)
    return np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(int)


def _packed(values):
    data = np.ascontiguousarray(values, "<f4").tobytes()
    return base64.b64encode(data).decode()
