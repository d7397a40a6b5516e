"""What each method costs on the same backbone and batch."""

import statistics
import tempfile
import time
from functools import partial

import keras

from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.experiments import comparison
from keras_pointpeft.experiments import cost
from keras_pointpeft.experiments import runs
from keras_pointpeft.files.progress import telling
from keras_pointpeft.presets import results
from keras_pointpeft.step.running import WARM_UP
from keras_pointpeft.training import compile_for

CLOCK_IN_WORDS = {"wall": "seconds by the clock", "cpu": "seconds of CPU"}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@telling("measuring methods")
def measured(
    entrants, split, batch_size=32, repeats=7, clock="wall"
) -> list[dict]:
    """Times and sizes of methods, measured in turns in one process.

    Weights are random, for what a step costs does not depend on them; so is a
    bank of features, which packs less well than a real one.

    Args:
        entrants: list of `keras_pointpeft.experiments.comparison.Entrant`, on
            one backbone and data set.
        split: `keras_pointpeft.data.Split` with at least `batch_size` clouds.
        batch_size: int. Clouds of a step.
        repeats: int. Timed rounds, whose median counts.
        clock: `"wall"`, or `"cpu"` for the seconds of this process alone, as
            on a machine that is busy with others; not for a GPU.

    Returns:
        Rows with the columns `results.METHODS`, in the order of `entrants`.

    Raises:
        ValueError: for an unknown clock, or if the split is smaller than a
            batch.
    """
    check_choice("clock", clock, CLOCKS)
    if len(split) < batch_size:
        raise ValueError(
            f"A batch needs {batch_size} clouds. Received: {split.name}, "
            f"{len(split)} clouds"
        )
    trained, predicted, rows = {}, {}, []
    for entrant in entrants:
        preset = entrant.preset
        recipe = runs.recipe_for(preset, batch_size=batch_size)
        model = runs.build_model(
            preset,
            recipe,
            split.num_classes,
            weights="random",
            peft=entrant.method(),
        )
        cost.fill_bank(model)
        compile_for(model, recipe)
        points = split.points[:batch_size, : recipe.num_points]
        batch = points, split.labels[:batch_size]
        rows.append(_sizes(entrant, model, batch, recipe))
        trained[entrant.text] = partial(cost.training_step, model, batch)
        predicted[entrant.text] = partial(model.predict_on_batch, points)
    for name, steps in (
        ("step_seconds", trained),
        ("inference_seconds", predicted),
    ):
        seconds = cost.interleaved_seconds(
            steps, repeats, WARM_UP + 1, CLOCKS[clock]
        )
        for row, entrant in zip(rows, entrants):
            median = statistics.median(seconds[entrant.text])
            row[name] = round(median, 5)
            row.update(repeats=repeats, clock=clock)
    return rows


def _sizes(entrant, model, batch, recipe):
    kept = None
    if keras.backend.backend() == "torch":
        kept = cost.kept_for_backward(model, *batch)
    with tempfile.TemporaryDirectory() as folder:
        adapter_bytes = model.save_adapter(folder)
    return {
        "preset": entrant.preset.name,
        "changes": entrant.changes_text,
        "batch_size": recipe.batch_size,
        "num_points": batch[0].shape[1],
        "remat": recipe.remat,
        "kept_bytes": kept,
        "adapter_bytes": adapter_bytes,
        "trained_parameters": sum(
            int(keras.ops.size(v)) for v in model.trainable_variables
        ),
        **runs.origin(),
    }


def with_accuracy(costs, compared) -> list[dict]:
    """Costs of methods and the accuracy that each had in a comparison.

    Args:
        costs: list of dicts, as `results.read` gives of `results.METHODS`.
        compared: list of dicts, as
            `keras_pointpeft.experiments.comparison.summary` gives.

    Returns:
        list of dicts of `"name"`, `"mean"` and `"std"` of the accuracy,
        `"seeds"`, and as numbers `"step_seconds"`, `"inference_seconds"`,
        `"kept_bytes"`, `"adapter_bytes"` and `"trained_parameters"`, best
        accuracy first. Methods that were not compared are left out.
    """
    found = []
    for row in costs:
        entry = results.find(
            compared, {name: row[name] for name in ("preset", "changes")}
        )
        if entry is None:
            continue
        numbers = {name: float(row[name] or "nan") for name in MEASURES}
        known = {name: entry[name] for name in ("mean", "std", "seeds")}
        found.append({"name": entry["method"], **known, **numbers})
    return sorted(found, key=lambda entry: -entry["mean"])


MEASURES = (
    "step_seconds",
    "inference_seconds",
    "kept_bytes",
    "adapter_bytes",
    "trained_parameters",
)


def rows_in_words(costs, folder) -> list:
    """Costs beside accuracies, for a table.

    Args:
        costs: see `with_accuracy`; linear probing among them.
        folder: path of the files of `scripts/compare.py`.

    Returns:
        A list: what was measured, in words; the table's header; and a row for
        each method, with times as multiples of linear probing's, too.
    """
    backbone, dataset = costs[0]["preset"].split("_")[1:3]
    compared = results.read(
        folder / f"{backbone}_{dataset}.csv", results.COMPARED
    )
    entries = with_accuracy(costs, comparison.summary(compared))
    (base,) = (entry for entry in entries if entry["name"] == "linear")

    def against(entry, name):
        value = entry[name]
        return f"{1e3 * value:.0f} ({value / base[name]:.2f})"

    header = ("method", "accuracy %", "step ms", "inference ms")
    header += ("memory MB", "adapter kB", "trained")
    run = costs[0]
    about = (
        f"**`{backbone}` on `{dataset}`**: {run['batch_size']} clouds of "
        f"{run['num_points']} points, {run['backend']}, {run['device']}, "
        f"{CLOCK_IN_WORDS[run['clock']]}"
    )
    return [
        about,
        header,
        *(
            (
                entry["name"],
                comparison.spread(entry["mean"], entry["std"]),
                against(entry, "step_seconds"),
                against(entry, "inference_seconds"),
                f"{entry['kept_bytes'] / 1e6:,.1f}",
                f"{entry['adapter_bytes'] / 1e3:,.0f}",
                f"{entry['trained_parameters']:,.0f}",
            )
            for entry in entries
        ),
    ]
