"""Measures what each method costs, and draws accuracy against it.

    python scripts/measure_methods.py --output=zoo/results/methods.csv \
        --compared=zoo/results/compared/pointmaetiny_shapes.csv

All methods of a backbone and a data set get the same batch, in turns, in one
process: seconds of a training step and of inference, bytes that a step keeps
for its backward pass (torch), bytes of the adapter. With --compared, a file of
scripts/compare.py (accuracy after equal updates), `.png` beside --output has
accuracy against seconds and bytes. With --seconds, each method is then trained
for as many updates as fit in that time, into `_seconds.csv`. With --nomeasure
no step is measured: those that --output has already are taken, such as were
measured when the machine was quiet.
"""

import pathlib

from absl import app
from absl import flags

BACKBONE = flags.DEFINE_string("backbone", "pointmaetiny", "Of the zoo.")
DATASET = flags.DEFINE_string("dataset", "shapes", "Of the zoo.")
METHODS = flags.DEFINE_list(
    "methods", ["all"], "As scripts/compare.py takes them."
)
OUTPUT = flags.DEFINE_string("output", None, "CSV file.", required=True)
COMPARED = flags.DEFINE_string(
    "compared", None, "A file of scripts/compare.py, for accuracies."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Clouds of a step.")
REPEATS = flags.DEFINE_integer("repeats", 7, "Timed rounds.")
CLOCK = flags.DEFINE_enum(
    "clock",
    "wall",
    ["wall", "cpu"],
    "cpu counts this process alone, on a machine that is busy with others.",
)
SECONDS = flags.DEFINE_integer(
    "seconds", None, "Train each method for so long, by its measured step."
)
SEEDS = flags.DEFINE_list("seeds", ["0"], "Of --seconds.")
MEASURE = flags.DEFINE_bool(
    "measure", True, "Whether to measure, or to take what --output has."
)


def main(_):
    from keras_pointpeft.experiments import comparison
    from keras_pointpeft.experiments import method_costs
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.presets import results
    from keras_pointpeft.reports import pareto

    path = pathlib.Path(OUTPUT.value)
    methods = METHODS.value
    if methods == ["all"]:
        methods = comparison.methods_for(BACKBONE.value, DATASET.value)
    entrants = [
        comparison.Entrant.from_text(text, BACKBONE.value, DATASET.value)
        for text in methods
    ]
    if MEASURE.value:
        split = runs.load_split(
            entrants[0].preset, "test", limit=BATCH_SIZE.value
        )
        rows = method_costs.measured(
            entrants, split, BATCH_SIZE.value, REPEATS.value, CLOCK.value
        )
        path.unlink(missing_ok=True)
        for row in rows:
            results.append_row(path, row, results.METHODS)
            print(row, flush=True)
    if SECONDS.value is not None:
        train_for(entrants, path)
    if COMPARED.value is None:
        return
    compared = results.read(COMPARED.value, results.COMPARED)
    entries = method_costs.with_accuracy(
        results.read(path, results.METHODS), comparison.summary(compared)
    )
    pareto.write_costs_png(
        path.with_suffix(".png"),
        entries,
        f"{BACKBONE.value} on {DATASET.value}, accuracy after equal updates",
    )


def train_for(entrants, path):
    """Trains each method for --seconds, by what a step of it takes."""
    from keras_pointpeft.experiments import comparison
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.presets import results
    from keras_pointpeft.training import settled

    steps = steps_of(entrants, results.read(path, results.METHODS))
    file = path.with_name(f"{path.stem}_seconds.csv")
    train, test = (
        runs.load_split(entrants[0].preset, part) for part in ("train", "test")
    )
    for seed in map(int, SEEDS.value):
        for entrant, step in zip(entrants, steps):
            recipe = runs.recipe_for(
                entrant.preset,
                batch_size=BATCH_SIZE.value,
                updates=max(1, round(SECONDS.value / step)),
                selection="last",
                seed=seed,
            )
            recipe = settled(recipe, None, train)
            known = results.read(file, results.COMPARED)
            if comparison.known(
                known, entrant, recipe, DATASET.value, "backbone"
            ):
                continue
            row = comparison.run(entrant, recipe, train, test, DATASET.value)
            results.append_row(file, row, results.COMPARED)
            print(row, flush=True)


def steps_of(entrants, rows):
    """Seconds of a step of each, at the batch that it is trained with."""
    found = []
    for entrant in entrants:
        measured = [
            float(row["step_seconds"])
            for row in rows
            if row["preset"] == entrant.preset.name
            and row["changes"] == entrant.changes_text
            and row["batch_size"] == str(BATCH_SIZE.value)
        ]
        if len(measured) != 1:
            raise ValueError(
                f"--output has no step of {entrant.text} with a batch of "
                f"{BATCH_SIZE.value}: measure without --nomeasure. Received: "
                f"--output={OUTPUT.value!r}"
            )
        found += measured
    return found


if __name__ == "__main__":
    app.run(main)
