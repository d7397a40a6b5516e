"""The figures of a report as PNG files, by matplotlib."""

import pathlib

import numpy as np

from keras_pointpeft.reports import palette


def write(found, folder):
    """Draws all figures that `found` has something for.

    Args:
        found: `keras_pointpeft.reports.findings.Findings`.
        folder: path of the folder to write to; it is made.

    Returns:
        list of the files' names.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "curves": curves(found) if found.history else None,
        "confusion": confusion(found),
        "classes": classes(found),
        "parameters": parameters(found),
        "features": features(found) if found.features else None,
        "scales": scales(found) if found.scale_range is not None else None,
        "blocks": blocks(found) if found.clouds else None,
        "nearest": nearest(found) if _have(found, "nearest") else None,
        "parts": parts(found) if _have(found, "parts") else None,
    }
    written = []
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=130)
            written.append(f"{name}.png")
    return written


def _have(found, name):
    return any(getattr(view, name) for view in found.clouds)


def _figure(width, height):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _grid(width, height, rows, columns):
    """A figure of clouds in rows and columns, and its axes."""
    figure = _figure(width, height)
    shape = {"projection": "3d"}
    return figure, figure.subplots(
        rows, columns, squeeze=False, subplot_kw=shape
    )


def curves(found):
    """Loss and figures, epoch by epoch."""
    pairs = palette.curve_names(found.history)
    rows, columns = -(-len(pairs) // 3), min(len(pairs), 3)
    figure = _figure(5 * columns, 3.5 * rows)
    epochs = [row["epoch"] + 1 for row in found.history]
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes in grid[len(pairs) :]:
        axes.set_visible(False)
    for axes, (title, names) in zip(grid, pairs):
        for name, label in names:
            values = [row.get(name, np.nan) for row in found.history]
            axes.plot(epochs, values, marker="o", markersize=3, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.set_title(title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.9")
        axes.legend()
    return figure


def confusion(found):
    """The confusion matrix, rows in percent."""
    names = found.class_names
    size = max(4.5, 0.3 * len(names) + 2)
    figure = _figure(size + 1, size)
    axes = figure.subplots()
    shares = palette.row_percent(found.confusion)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    if len(names) <= 20:
        for (row, column), value in np.ndenumerate(shares):
            if value >= 0.5:
                axes.text(
                    column,
                    row,
                    f"{value:.0f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if value > 55 else "black",
                )
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"Confusion, % of the {found.counted} of a class")
    figure.colorbar(image, shrink=0.7)
    return figure


def classes(found):
    """One bar per class, worst first."""
    order, values, names = palette.sorted_classes(found)
    figure = _figure(7, max(3, 0.24 * len(order) + 1))
    axes = figure.subplots()
    axes.barh(range(len(order)), values, color=palette.BLUE)
    axes.set_yticks(range(len(order)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"{found.measure} in %")
    axes.grid(axis="x", color="0.9")
    axes.set_title(f"{found.measure} by class, worst first")
    return figure


def parameters(found):
    """What trains, component by component."""
    rows = palette.components(found.summary)
    figure = _figure(7, 0.45 * len(rows) + 1.5)
    axes = figure.subplots()
    bars = axes.barh(
        range(len(rows)), [size for _, size in rows], color=palette.BLUE
    )
    axes.bar_label(bars, [f"{size:,}" for _, size in rows], padding=3)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlabel("trained parameters")
    axes.set_title(palette.share_text(found.summary), fontsize=10)
    return figure


def features(found):
    """t-SNE of the features before and after."""
    figure = _figure(12, 5.5)
    for axes, xy, title in zip(
        figure.subplots(1, 2),
        (found.features.before, found.features.after),
        palette.feature_titles(found.features),
    ):
        for label, name in enumerate(found.features.class_names):
            mine = found.features.labels == label
            if mine.any():
                axes.scatter(
                    *xy[mine].T,
                    s=14,
                    color=palette.color(label),
                    marker=palette.MARKERS[label // 20 % 3][0],
                    label=name,
                )
        axes.set_title(title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("t-SNE, first axis")
        axes.set_ylabel("t-SNE, second axis")
    axes.legend(
        fontsize=7,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        ncols=1 + len(found.features.class_names) // 25,
    )
    return figure


def scales(found):
    """Mean and deviation of the tokens' scales, block by block."""
    figure = _figure(6, 3.5)
    axes = figure.subplots()
    mean, deviation = found.scale_range.T
    place = range(1, len(mean) + 1)
    axes.errorbar(place, mean, deviation, fmt="o-", capsize=3)
    axes.set_xticks(place)
    axes.set_xlabel("block")
    axes.set_ylabel("scale of a token")
    axes.set_title("Scales of the tokens, mean and deviation", fontsize=10)
    axes.grid(color="0.9")
    return figure


def _cloud(axes, points, values, title, cmap="viridis", **kwargs):
    x, y, z = points.T
    drawn = axes.scatter(
        x, y, z, c=values, s=3, cmap=cmap, linewidths=0, **kwargs
    )
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
    axes.set_aspect("equal")
    return drawn


def blocks(found):
    """A few clouds, coloured by scale and attention in a few blocks."""
    count = len(found.block_names)
    columns = sorted(set(np.linspace(0, count - 1, 4).round().astype(int)))
    rows = [
        (view, values, kind)
        for view in found.clouds[:2] + found.clouds[-1:]
        for values, kind in (
            (view.scales, "scale"),
            (view.attention, f"attention of {found.looks}"),
        )
        if values
    ]
    wide, high = len(columns), len(rows)
    figure, grid = _grid(2.6 * wide, 2.6 * high, high, wide)
    for line, (view, values, kind) in zip(grid, rows):
        for axes, block in zip(line, columns):
            title = f"block {block + 1}, {kind}"
            if block == columns[0]:
                title = f"{view.title}\n{title}"
            most = float(values[block].max()) or 1.0
            drawn = _cloud(
                axes, view.points, values[block], title, vmin=0, vmax=most
            )
            figure.colorbar(
                drawn, ax=axes, shrink=0.6, pad=0, format="%.2g"
            ).ax.tick_params(labelsize=6)
    return figure


def nearest(found):
    """Clouds and the nearest samples of the bank beside them."""
    views = [view for view in found.clouds if view.nearest]
    columns = 1 + max(len(view.nearest) for view in views)
    figure, grid = _grid(2.4 * columns, 2.4 * len(views), len(views), columns)
    for line, view in zip(grid, views):
        _cloud(line[0], view.points, palette.BLUE, view.title, None)
        for axes, (points, title) in zip(line[1:], view.nearest):
            _cloud(axes, points, palette.GRAY, title, None)
    return figure


def parts(found):
    """True and predicted labels side by side, and where they differ."""
    views = [view for view in found.clouds if view.parts is not None]
    figure, grid = _grid(11, 2.7 * len(views), len(views), 3)
    for line, view in zip(grid, views):
        true, predicted = view.parts
        for axes, labels, title in zip(
            line, (true, predicted), ("true", f"predicted: {view.title}")
        ):
            colors = [palette.color(label) for label in labels]
            _cloud(axes, view.points, colors, title, None)
        wrong = np.where(true == predicted, palette.GRAY, palette.RED)
        _cloud(line[2], view.points, wrong, "red: wrong", None)
        for name, color in palette.legend(view.parts, found.class_names):
            line[2].scatter([], [], [], color=color, label=name)
        line[2].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
