"""What corrupted clouds leave of a model's accuracy.

A model that was trained on clean clouds is measured on each of
`keras_pointpeft.data.CORRUPTIONS`, at several severities.
"""

import dataclasses
import math
from collections import defaultdict

from rich.table import Table

from keras_pointpeft.data.corruption import CORRUPTIONS
from keras_pointpeft.data.corruption import SEVERITIES
from keras_pointpeft.data.corruption import check
from keras_pointpeft.data.corruption import corrupt_split
from keras_pointpeft.data.corruption import sampled
from keras_pointpeft.experiments import runs
from keras_pointpeft.files.progress import Progress
from keras_pointpeft.presets import model_card
from keras_pointpeft.training import objectives

NOTE = """By `scripts/measure_corruptions.py`: trained on clean clouds, measured
on `keras_pointpeft.data.CORRUPTIONS`. Accuracy in percent, of each corruption
the mean over its severities. mCE is the mean corruption error: the errors over
those of the linear probe, in percent; RmCE the same of what is lost against
clean clouds. Less of both is better.

"""
# The clouds as they are, as a corruption of severity 0.
CLEAN = "none"


def pairs(corruptions=None, severities=SEVERITIES):
    """What is measured: a list of corruptions with severities, clean first.

    Args:
        corruptions: iterable of strings; None for all.
        severities: iterable of ints, 1 to 5.

    Raises:
        ValueError: for an unknown one, or none.
    """
    corruptions = list(CORRUPTIONS if corruptions is None else corruptions)
    severities = sorted(set(severities))
    if not corruptions or not severities:
        raise ValueError(
            "At least one corruption and one severity are measured. "
            f"Received: {corruptions} and {severities}"
        )
    found = [(c, s) for c in corruptions for s in severities]
    for pair in found:
        check(*pair)
    return [(CLEAN, 0), *found]


def measure(
    figure, split, wanted=None, num_points=None, sampling="fps", fewest=1
):
    """Measures a model on corrupted clouds.

    Args:
        figure: function from a `keras_pointpeft.data.Split` to a figure of
            the model on it, between 0 and 1.
        split: `keras_pointpeft.data.Split`, clean.
        wanted: what `pairs` returns, or a part of it.
        num_points: int or None. Points of a cloud before; None for all.
        sampling: string. How they are chosen.
        fewest: int. Points that the model needs of a cloud.

    Yields:
        One dict for each of `wanted`: `"corruption"`, `"severity"`, `"value"`
        in percent, and `"num_points"`, what a cloud has left.

    Raises:
        ValueError: if a corruption leaves too few points, before anything is
            measured.

    Example:
    ```python
    from keras_pointpeft import training
    from keras_pointpeft.experiments import robustness

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    test = keras_pointpeft.data.load_shapes(split="test", num_clouds=20)
    rows = robustness.measure(
        lambda clouds: training.evaluate(model, clouds).accuracy,
        test,
        robustness.pairs(["noise"], [1, 3]),
    )
    print(list(rows))
    ```
    """
    wanted = pairs() if wanted is None else list(wanted)
    first = sampled(split.take([0]), num_points, sampling)
    for pair in wanted:
        left = _spoilt(first, *pair).points.shape[1]
        if left < fewest:
            raise ValueError(
                f"The model needs {fewest} points of a cloud; of "
                f"{first.points.shape[1]}, {pair[0]} of severity {pair[1]} "
                f"leaves {left}. Take more points or lower severities. "
                f"Received: num_points={num_points}"
            )
    split = sampled(split, num_points, sampling)
    with Progress("measuring corrupted clouds", len(wanted)) as progress:
        for corruption, severity in wanted:
            clouds = _spoilt(split, corruption, severity)
            yield {
                "corruption": corruption,
                "severity": severity,
                "value": round(100 * figure(clouds), 2),
                "num_points": clouds.points.shape[1],
            }
            progress.advance()


def measure_task(task, split, recipe, wanted=None):
    """`measure` by the figure of a task's kind, on clouds as a recipe has them.

    Args:
        task: a classifier or a segmenter of parts.
        split: see `measure`.
        recipe: `keras_pointpeft.training.Recipe`.
        wanted: see `measure`.

    Returns:
        What `measure` returns.
    """
    objective = objectives.objective_of(task)
    # They are sampled before they are spoilt.
    every = dataclasses.replace(recipe, num_points=None)
    return measure(
        lambda clouds: objective.measure(clouds, every)[objective.figure],
        split,
        wanted,
        recipe.num_points,
        recipe.evaluation_sampling,
        task.fewest_points,
    )


def _spoilt(split, corruption, severity):
    if corruption == CLEAN:
        return split
    return corrupt_split(split, corruption, severity)


def result_row(measured, **known) -> dict:
    """What `measure` yields as a row with the columns `results.CORRUPTED`."""
    return {
        **measured,
        "metric": "accuracy",
        **runs.origin(),
        **known,
    }


def summary(rows, baseline=None) -> list[dict]:
    """One entry for each preset, the least affected first.

    Args:
        rows: list of dicts with the columns `results.CORRUPTED`; seeds are
            averaged.
        baseline: string or None, the preset whose errors others are compared
            with.

    Returns:
        List of dicts: `"preset"`; `"clean"`; `"by"`, a dict from corruption
        to the mean over its severities; `"mean"` over corruptions; `"drop"`,
        what that lies below `"clean"`; all in percent. `"mce"`, the mean
        corruption error of [ModelNet-C](https://arxiv.org/abs/2202.03377):
        the errors of a corruption over the baseline's, in percent, averaged
        over corruptions; and `"rmce"`, the same of what is lost against clean
        clouds. Both are None without a baseline.

    Raises:
        ValueError: if presets were not measured on the same corruptions, or
            the baseline is not there.
    """
    values = defaultdict(lambda: defaultdict(list))
    for row in rows:
        pair = row["corruption"], int(row["severity"])
        values[row["preset"]][pair].append(float(row["value"]))
    kinds = {preset: set(found) for preset, found in values.items()}
    for preset, found in kinds.items():
        clean = (CLEAN, 0) in found and len(found) > 1
        if found != next(iter(kinds.values())) or not clean:
            raise ValueError(
                "Presets are compared on clean clouds and on the same "
                "corruptions and severities. "
                f"Received: {preset} with {sorted(found)}"
            )
    if baseline is not None and baseline not in values:
        raise ValueError(
            f"The baseline must be among {sorted(values)}. "
            f"Received: {baseline!r}"
        )
    entries = [_entry(preset, found) for preset, found in values.items()]
    base = next((e for e in entries if e["preset"] == baseline), None)
    for entry in entries:
        entry["mce"] = entry["rmce"] = None
        if base is not None:
            entry["mce"] = _relative(entry, base, 100, 100)
            entry["rmce"] = _relative(
                entry, base, entry["clean"], base["clean"]
            )
    return sorted(entries, key=lambda entry: -entry["mean"])


def _entry(preset, found):
    means = {pair: math.fsum(x) / len(x) for pair, x in found.items()}
    clean = means.pop((CLEAN, 0))
    by = defaultdict(list)
    for (corruption, _), value in means.items():
        by[corruption].append(value)
    by = {name: math.fsum(x) / len(x) for name, x in by.items()}
    mean = math.fsum(by.values()) / len(by)
    return {
        "preset": preset,
        "clean": clean,
        "by": by,
        "mean": mean,
        "drop": clean - mean,
    }


def _relative(entry, base, top, base_top):
    """The mean over corruptions of lost percent over the baseline's.

    None where the baseline loses nothing.
    """
    parts = [
        (top - value, base_top - base["by"][name])
        for name, value in entry["by"].items()
    ]
    if any(theirs <= 0 for _, theirs in parts):
        return None
    return 100 * math.fsum(a / b for a, b in parts) / len(parts)


def table(rows, title) -> Table:
    """What `measure` yields as a table to print: a line for a corruption."""
    severities = sorted({r["severity"] for r in rows if r["severity"]})
    shown = Table(title=title)
    shown.add_column("corruption")
    for severity in severities:
        shown.add_column(f"{severity}", justify="right")
    shown.add_column("mean", justify="right")
    clean = next(r["value"] for r in rows if r["corruption"] == CLEAN)
    shown.add_row(CLEAN, *[""] * len(severities), f"{clean:.2f}")
    by = defaultdict(list)
    for row in rows:
        if row["corruption"] != CLEAN:
            by[row["corruption"]].append(float(row["value"]))
    for name, found in by.items():
        mean = math.fsum(found) / len(found)
        shown.add_row(name, *(f"{x:.2f}" for x in found), f"{mean:.2f}")
    return shown


def markdown(rows) -> str:
    """A summary as a table for a page, against linear probing.

    Args:
        rows: see `summary`; none is no table yet.
    """
    if not rows:
        return NOTE + "No runs are recorded yet.\n"
    names = sorted({row["preset"] for row in rows})
    probes = [name for name in names if name.startswith("linear_")]
    entries = summary(rows, probes[0] if probes else None)
    kinds = list(entries[0]["by"])
    lines = [
        (
            f"`{entry['preset']}`",
            f"{entry['clean']:.2f}",
            *(f"{entry['by'][kind]:.2f}" for kind in kinds),
            f"{entry['mean']:.2f}",
            f"{entry['drop']:.2f}",
            *(
                "-" if entry[name] is None else f"{entry[name]:.1f}"
                for name in ("mce", "rmce")
            ),
        )
        for entry in entries
    ]
    titles = (kind.replace("_", " ") for kind in kinds)
    header = ("preset", "clean", *titles, "mean", "drop", "mCE", "RmCE")
    severities = sorted({int(row["severity"]) for row in rows} - {0})
    return (
        f"{NOTE}{rows[0]['test_clouds']} clouds, severities "
        f"{', '.join(map(str, severities))}; {rows[0]['protocol']}\n\n"
        + model_card.markdown_table(header, lines)
    )
