"""How cost grows with size, drawn from the rows of `benchmark/run.py`."""

from sides import parse

from keras_pointpeft.reports import palette


def curves(rows):
    """Sizes and ratios to the smallest, by what grows and by curve.

    Args:
        rows: list of dicts of strings with the columns of
            `keras_pointpeft.presets.results.COST`. A row counts if its
            benchmark's name has "growth" in it, as in "dapt_growth_points";
            of rows that were measured twice, the last.

    Returns:
        dict from what grows, such as "points", to a dict from a curve's name
        to a dict from size over the smallest size to ratio.
    """
    found = {}
    for row in rows:
        what, growth, name = row["benchmark"].partition("_growth_")
        if not growth:
            continue
        larger, smaller = (
            int(parse(row[side])[1][name]) for side in ("side", "baseline")
        )
        curve = f"{what}, {row['quantity']}, {row['backend']}"
        curve = found.setdefault(name, {}).setdefault(curve, {1.0: 1.0})
        curve[larger / smaller] = float(row["ratio"])
    return found


def write_png(path, rows):
    """Draws a panel for each quantity that grows, both axes logarithmic.

    Cost may grow like the size, and over groups, which look at each other,
    like its square.

    Args:
        path: path of the PNG file.
        rows: see `curves`.
    """
    from matplotlib.figure import Figure

    panels = curves(rows)
    if not panels:
        raise ValueError(
            "There are no rows of growth to draw; run the benchmarks with "
            "'growth' in their names. Received: "
            f"{sorted({row['benchmark'] for row in rows})}"
        )
    figure = Figure(figsize=(4.2 * len(panels), 5), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, lines) in zip(grid, panels.items()):
        for number, (label, curve) in enumerate(sorted(lines.items())):
            sizes = sorted(curve)
            axes.plot(
                sizes,
                [curve[size] for size in sizes],
                marker=palette.MARKERS[number % 3][0],
                color=palette.color(number),
                label=label,
            )
        ends = [1.0, max(max(curve) for curve in lines.values())]
        axes.plot(ends, ends, "k--", zorder=0, label="like the size")
        if name == "groups":
            square = [x**2 for x in ends]
            axes.plot(ends, square, "k:", zorder=0, label="like its square")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xlabel(f"{name}, times the smallest")
        axes.grid(color="0.9")
        axes.legend(fontsize=7, frameon=False, loc="upper left")
    grid[0].set_ylabel("cost, times that at the smallest")
    figure.savefig(path, dpi=130)
