"""What the figures of matplotlib and of plotly have in common."""

import numpy as np

BLUE, GRAY, RED = "#3468a8", "#9aa3ad", "#d0342c"
# For matplotlib and for plotly, twenty classes each.
MARKERS = (("o", "circle"), ("^", "triangle-up"), ("s", "square"))
_COLORS = (
    "#1f77b4 #ff7f0e #2ca02c #d62728 #9467bd #8c564b #e377c2 #7f7f7f #bcbd22 "
    "#17becf #aec7e8 #ffbb78 #98df8a #ff9896 #c5b0d5 #c49c94 #f7b6d2 #333333 "
    "#dbdb8d #9edae5"
).split()


def color(label):
    """The colour of a class, as `"#rrggbb"`."""
    return _COLORS[int(label) % len(_COLORS)]


def legend(labels, names):
    """Names and colours of the classes among labels, in their order."""
    return [(names[label], color(label)) for label in np.unique(labels)]


def row_percent(confusion):
    """A confusion matrix in percent of its rows."""
    return 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)


def sorted_classes(found):
    """Classes that there are, worst first: labels, percent and names."""
    known = np.flatnonzero(~np.isnan(found.per_class))
    order = known[np.argsort(found.per_class[known], kind="stable")]
    names = [found.class_names[i] for i in order]
    return order, 100 * found.per_class[order], names


def components(summary):
    """Names and trained parameters, the head last."""
    return [*summary["components"].items(), ("head", summary["head"])]


def share_text(summary):
    """How much trains, in words."""
    return (
        f"{summary['trainable']:,} of {summary['total']:,} parameters train "
        f"({100 * summary['share']:.1f} %)"
    )


def feature_titles(features):
    """What is left and right, with a number that does not depend on t-SNE."""
    return tuple(
        f"{when} training: neighbours agree for {100 * share:.0f} % of clouds"
        for when, share in zip(("before", "after"), features.agreement)
    )


def curve_names(history):
    """Panels of the learning curves: titles, and columns with their labels."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    panels = []
    for name in columns:
        if name in ("epoch", "seconds") or name.startswith("val_"):
            continue
        # Those of each block are in a table.
        if name.startswith("live_block"):
            continue
        names = [(name, "training")]
        if f"val_{name}" in columns:
            names.append((f"val_{name}", "validation"))
        panels.append((name.replace("_", " "), names))
    return sorted(panels, key=lambda panel: panel[0] != "loss")
