"""Result files of the zoo: one row per run, written by scripts."""

import csv
import hashlib
import io
import math
import tempfile
from pathlib import Path

from filelock import FileLock

from keras_pointpeft.files.whole import whole_file

# What is copied from papers. `deviation` is that of several runs, where a paper
# names it; `measured_by` says who ran a method, if not its own authors or the
# paper whose table it stands in.
PUBLISHED = (
    "preset",
    "method",
    "backbone",
    "dataset",
    "metric",
    "value",
    "trained_millions",
    "protocol",
    "source",
    "deviation",
    "measured_by",
)
# What was measured with this package. Accuracies in percent.
MEASURED = (
    "preset",
    "dataset",
    "seed",
    "epochs",
    "last_accuracy",
    "best_accuracy",
    "selection",
    "protocol",
    "trained_parameters",
    "adapter_bytes",
    "backend",
    "device",
    "seconds",
    "train_clouds",
    "test_clouds",
    "weights",
    "version",
    "date",
)
_RUN = MEASURED[MEASURED.index("selection") :]
# The same of segmentation, of the selected weights. In percent. Comparisons
# fill the last two, see `COMPARED`.
SEGMENTATION = (
    "preset",
    "dataset",
    "seed",
    "epochs",
    "instance_miou",
    "class_miou",
    "miou",
    "mean_class_accuracy",
    "accuracy",
    *_RUN,
    "changes",
    "best_epoch",
)
# Of few-shot classification: mean and deviation over episodes.
FEW_SHOT = (
    "preset",
    "dataset",
    "ways",
    "shots",
    "episodes",
    "seed",
    "epochs",
    "mean",
    "deviation",
    "accuracies",
    *_RUN,
)
# Of a comparison of methods: `changes` are arguments of the method that are
# not the preset's, `memory_bytes` is what a training step keeps for its
# backward pass, where the backend tells. Epochs are counted from 1.
COMPARED = (
    *MEASURED,
    "changes",
    "best_epoch",
    "mean_class_accuracy",
    "step_seconds",
    "memory_bytes",
)
# Of what methods cost on one backbone and batch, see
# `keras_pointpeft.experiments.method_costs`.
METHODS = (
    "preset",
    "changes",
    "batch_size",
    "num_points",
    "remat",
    "step_seconds",
    "inference_seconds",
    "kept_bytes",
    "adapter_bytes",
    "trained_parameters",
    "repeats",
    "clock",
    "backend",
    "device",
    "version",
    "date",
)
# Of the choice of a learning rate: `factor` is what the recipe's own was
# multiplied by, `held_out` the last epoch's figure on held-out clouds of the
# training split, in percent.
RATES = (
    "preset",
    "changes",
    "dataset",
    "seed",
    "epochs",
    "factor",
    "learning_rate",
    "held_out",
    "figure",
    "protocol",
    "weights",
    "train_clouds",
    "held_out_clouds",
    "backend",
    "device",
    "seconds",
    "version",
    "date",
)
# How a trained model was measured, and where.
_MEASUREMENT = (
    "protocol",
    "test_clouds",
    "weights",
    "backend",
    "device",
    "version",
    "date",
)
# On corrupted clouds, `data.corruption`, in percent: `metric` is "accuracy" or
# "instance_miou", and the corruption "none", of severity 0, leaves clouds as
# they are. `seed` is that of training, `num_points` what a cloud has left.
CORRUPTED = (
    "preset",
    "dataset",
    "seed",
    "corruption",
    "severity",
    "metric",
    "value",
    "num_points",
    *_MEASUREMENT,
)
# Of a benchmark: `ratio` is that of `value`, of `side`, to that of `baseline`.
COST = (
    "benchmark",
    "quantity",
    "side",
    "baseline",
    "value",
    "baseline_value",
    "ratio",
    "wanted",
    "batch_size",
    "repeats",
    "backend",
    "device",
    "threads",
    "version",
    "date",
)
# Which rows of a benchmark the README has, and what the ratio of the first side
# to the last one is, in words.
KEY_COST = ("benchmark", "quantity", "what")
# Of a backbone, judged by a linear classifier and by a head on its features.
PROBES = (
    "backbone",
    "dataset",
    "seed",
    "linear",
    "head",
    "parameters",
    "num_points",
    "head_epochs",
    "train_clouds",
    "test_clouds",
    "backend",
    "version",
    "date",
)
# What `scripts/measure_scales.py` finds: shares of tokens, block by block.
SCALES = (
    "set",
    "method",
    "seed",
    "updates",
    "batch_size",
    "learning_rate",
    "last_accuracy",
    "live_before",
    "live_after",
    "shut_after",
    "train_clouds",
    "test_clouds",
    "seconds",
)
# Of updates at test time, by `scripts/measure_test_time.py`: accuracies in
# percent `without` and `with_updates`, the predictions they `changed`, and the
# seconds of CPU for each cloud.
TEST_TIME = (
    "preset",
    "dataset",
    "seed",
    "corruption",
    "severity",
    "masked",
    "learning_rate",
    "updates",
    "without",
    "with_updates",
    "changed",
    "cpu_seconds",
    *_MEASUREMENT,
)
_COMMON = ("preset", "dataset", "protocol")
REQUIRED = {
    COMPARED: (*_COMMON, "seed", "epochs", "last_accuracy"),
    MEASURED: (*_COMMON, "seed", "epochs", "last_accuracy"),
    SEGMENTATION: (*_COMMON, "seed", "epochs", "accuracy"),
    CORRUPTED: ("preset", "dataset", "corruption", "severity", "value"),
    FEW_SHOT: (*_COMMON, "ways", "shots", "episodes", "mean"),
    COST: ("benchmark", "quantity", "side", "baseline", "ratio"),
    KEY_COST: ("benchmark", "quantity"),
    PROBES: ("backbone", "dataset", "seed", "linear", "head"),
    SCALES: ("set", "method", "seed", "updates", "last_accuracy"),
    METHODS: ("preset", "batch_size", "step_seconds", "inference_seconds"),
    TEST_TIME: (*_COMMON, "seed", "without", "with_updates"),
    RATES: (*_COMMON, "seed", "epochs", "learning_rate", "held_out"),
}
# Runs that differ in these are not averaged with each other.
GROUP = (
    "preset",
    "changes",
    "dataset",
    "epochs",
    "selection",
    "protocol",
    "weights",
)


def append_row(path, row, columns=MEASURED) -> None:
    """Adds one run to a file of measured results.

    The file is made if it does not exist. Several processes may add rows at
    the same time.

    Args:
        path: path of the CSV file.
        row: dict with the keys `columns`; those of `REQUIRED` must be there,
            the others may be left out.
        columns: a key of `REQUIRED`, such as `MEASURED` or `SEGMENTATION`.

    Raises:
        ValueError: for an unknown or a missing column, or if the file has
            other columns.

    Example:

    ```python
    append_row(
        "measured.csv",
        {
            "preset": "dapt_pointmaetiny_shapes",
            "dataset": "shapes",
            "seed": 0,
            "epochs": 15,
            "last_accuracy": 91.5,
            "protocol": "scale_translate",
        },
    )
    ```
    """
    unknown = sorted(set(row) - set(columns))
    missing = [
        name for name in REQUIRED[columns] if row.get(name) in (None, "")
    ]
    if unknown or missing:
        raise ValueError(
            f"A result has the columns {columns}; unknown here: {unknown}, "
            f"missing: {missing}. Received: {sorted(row)}"
        )
    path = Path(path)
    with FileLock(_lock_of(path)):
        new = not path.exists() or path.stat().st_size == 0
        if not new:
            _check_columns(path, columns)
        before = b"" if new else path.read_bytes()
        added = io.StringIO(newline="")
        writer = csv.DictWriter(added, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
        with whole_file(path) as place:
            place.write_bytes(before + added.getvalue().encode())


def find(rows, wanted) -> dict | None:
    """The first row that has all of these values, or None.

    Args:
        rows: list of dicts, as `read` gives.
        wanted: dict of some columns, compared as they are written.
    """
    wanted = {name: str(value) for name, value in wanted.items()}
    for row in rows:
        if all(row[name] == value for name, value in wanted.items()):
            return row
    return None


def read(path, columns=MEASURED) -> list[dict]:
    """Reads a result file.

    Args:
        path: path of the CSV file. A file that does not exist has no rows.
        columns: the columns that it must have, such as `MEASURED`.

    Returns:
        List of dicts of strings, in the order of the file.
    """
    path = Path(path)
    if not path.exists():
        return []
    _check_columns(path, columns)
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def summarise(rows, last="last_accuracy", best="best_accuracy") -> list[dict]:
    """Averages runs that differ in nothing but their seed.

    Args:
        rows: list of dicts, as `read` returns.
        last: string or None, the column of the last epoch's figure.
        best: string, that of the selected epoch's.

    Returns:
        List of dicts, one per group, in order of appearance: the columns
        `GROUP`, `seeds` (how many runs), `trained_parameters`,
        `adapter_bytes`, and mean and standard deviation over the seeds
        (`last_mean`, `last_std`, `best_mean`, `best_std`). The standard
        deviation is that of a sample (divisor n - 1), `None` for one run; so
        are `best_mean` and `best_std` when a run has no best accuracy.
    """
    groups = {}
    for row in rows:
        key = tuple(str(row.get(name) or "") for name in GROUP)
        groups.setdefault(key, []).append(row)
    summary = []
    for key, runs in groups.items():
        last_mean, last_std = _mean_and_std(runs, last)
        best_mean, best_std = _mean_and_std(runs, best)
        summary.append(
            {
                **dict(zip(GROUP, key)),
                "seeds": len(runs),
                "trained_parameters": runs[-1].get("trained_parameters"),
                "adapter_bytes": runs[-1].get("adapter_bytes"),
                "last_mean": last_mean,
                "last_std": last_std,
                "best_mean": best_mean,
                "best_std": best_std,
            }
        )
    return summary


def _mean_and_std(runs, column):
    values = [run.get(column) for run in runs]
    if any(value in (None, "") for value in values):
        return None, None
    values = [float(value) for value in values]
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    squares = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(squares / (len(values) - 1))


def _lock_of(path):
    # In the temporary folder, because the folder of results is shipped.
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"keras_pointpeft_{name}.lock"


def _check_columns(path, columns):
    with open(path, newline="", encoding="utf-8") as file:
        found = next(csv.reader(file), [])
    if found != list(columns):
        raise ValueError(
            f"The result file {path} must have the columns {list(columns)}. "
            f"Received: {found}"
        )
