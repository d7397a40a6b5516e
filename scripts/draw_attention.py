"""Draws what a fine-tuned model looks at in scans: the README's picture.

    python scripts/train.py --preset=dapt_pointmaetiny_shapes --limit=400 \
        --epochs=6 --output=runs/dapt
    python scripts/draw_attention.py --adapter=runs/dapt/adapter \
        --output=docs/pictures/scans.png

A row is a scan of the procedural test set, coloured by the attention that the
class token pays its patches in some blocks, and by the scale that the method
gives the tokens of a block, if it gives one.
"""

import numpy as np
from absl import app
from absl import flags

ADAPTER = flags.DEFINE_string("adapter", None, "What save_adapter wrote.")
OUTPUT = flags.DEFINE_string("output", None, "The PNG file to write.")
CLOUDS = flags.DEFINE_list("clouds", ["0", "10"], "Which scans, by number.")
NUM_POINTS = flags.DEFINE_integer("num_points", 1024, "Points that are drawn.")
flags.mark_flags_as_required(["adapter", "output"])


def main(_):
    import keras_pointpeft
    from keras_pointpeft import data
    from keras_pointpeft.reports import inspection

    model = keras_pointpeft.from_adapter(ADAPTER.value)
    rows = [int(number) for number in CLOUDS.value]
    split = data.load("shapes", split="test", num_clouds=max(rows) + 1)
    clouds = split.take(rows).points[:, : NUM_POINTS.value]
    names = [split.class_names[split.labels[row]] for row in rows]
    backbone = model.backbone
    seen = inspection.inspect(backbone, clouds)
    panels = columns(seen)
    drawn = [
        inspection.onto_points(
            clouds, seen.centers, values, backbone.group_size
        )
        for _, values in panels
    ]
    figure = draw(clouds, names, [title for title, _ in panels], drawn)
    figure.savefig(OUTPUT.value, dpi=110)


def columns(seen):
    """Titles and values of patches: attention early, late, and a scale."""
    count = len(seen.blocks)
    found = [
        (f"block {place + 1}, attention", seen.blocks[place].attention)
        for place in sorted({0, count // 2, count - 1})
    ]
    scales = [
        (f"block {place + 1}, scale", block.scale)
        for place, block in enumerate(seen.blocks)
        if block.scale is not None
    ]
    # The one that tells tokens apart most; those of dead adapters are 0.
    return found + sorted(scales, key=lambda pair: pair[1].std())[-1:]


def draw(clouds, names, titles, values):
    from matplotlib.figure import Figure

    shape = (len(clouds), len(titles))
    figure = Figure(figsize=(2.5 * shape[1], 2.4 * shape[0]))
    figure.subplots_adjust(0.02, 0, 1, 0.94, 0, 0)
    grid = figure.subplots(
        *shape, squeeze=False, subplot_kw={"projection": "3d"}
    )
    for (row, column), axes in np.ndenumerate(grid):
        x, y, z = clouds[row].T
        axes.scatter(
            *(x, -z, y),  # y is up
            c=values[column][row],
            s=6,
            cmap="viridis",
            linewidths=0,
            depthshade=False,
        )
        axes.view_init(20, -60)
        axes.set_box_aspect((np.ptp(x), np.ptp(z), np.ptp(y)), zoom=1.25)
        axes.set_axis_off()
        if row == 0:
            axes.set_title(titles[column], fontsize=9)
        if column == 0:
            axes.text2D(0, 0.05, names[row], transform=axes.transAxes)
    return figure


if __name__ == "__main__":
    app.run(main)
