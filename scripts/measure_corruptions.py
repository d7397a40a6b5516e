"""Measures what corrupted clouds leave of each method's accuracy.

    python scripts/measure_corruptions.py --output=corrupted.csv

Every method is trained on clean clouds from the same start, with the same
budget, and measured on `keras_pointpeft.data.CORRUPTIONS`. Runs that the file
has already are not run again; with --states, one that was interrupted goes on.
"""

import pathlib

from absl import app
from absl import flags

OUTPUT = flags.DEFINE_string(
    "output", None, "CSV file to add rows to.", required=True
)
METHODS = flags.DEFINE_list(
    "methods",
    ["linear", "dapt", "pointpeft", "lora", "idpt", "full"],
    "Methods of the zoo.",
)
BACKBONE = flags.DEFINE_string("backbone", "pointmaetiny", "Of the zoo.")
DATASET = flags.DEFINE_string("dataset", "shapes", "Of the zoo.")
SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of the runs.")
EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs of each run.")
LIMIT = flags.DEFINE_integer("limit", 600, "Clouds to learn from.")
TEST_LIMIT = flags.DEFINE_integer("test_limit", 300, "Clouds to measure on.")
SEVERITIES = flags.DEFINE_list("severities", ["1", "3", "5"], "1 to 5.")
STATES = flags.DEFINE_string("states", None, "Folder for states of runs.")


def main(_):
    from keras_pointpeft.experiments import robustness
    from keras_pointpeft.presets import results

    wanted = robustness.pairs(None, [int(s) for s in SEVERITIES.value])
    for seed in map(int, SEEDS.value):
        for method in METHODS.value:
            preset = f"{method}_{BACKBONE.value}_{DATASET.value}"
            known = {"preset": preset, "dataset": DATASET.value, "seed": seed}
            rows = results.read(OUTPUT.value, results.CORRUPTED)
            left = [
                (corruption, severity)
                for corruption, severity in wanted
                if results.find(
                    rows,
                    {**known, "corruption": corruption, "severity": severity},
                )
                is None
            ]
            if not left:
                continue
            for row in run(preset, seed, left):
                row = {**row, **known}
                results.append_row(OUTPUT.value, row, results.CORRUPTED)
                print(preset, row["corruption"], row["severity"], row["value"])
    rows = results.read(OUTPUT.value, results.CORRUPTED)
    for entry in robustness.summary(rows):
        print(
            f"{entry['preset']}: clean {entry['clean']:.2f}, corrupted "
            f"{entry['mean']:.2f}, drop {entry['drop']:.2f}"
        )


def run(name, seed, wanted):
    """Trains a preset and measures it; yields rows."""
    from keras_pointpeft import presets
    from keras_pointpeft import training
    from keras_pointpeft.experiments import robustness
    from keras_pointpeft.experiments import runs

    preset = presets.resolve(name)
    recipe = runs.recipe_for(
        preset, epochs=EPOCHS.value, seed=seed, selection="last"
    )
    train, test = (
        runs.load_split(preset, split, limit=limit)
        for split, limit in (("train", LIMIT.value), ("test", TEST_LIMIT.value))
    )
    model = runs.build_model(
        preset, recipe, **runs.task_arguments(preset, train, test)
    )
    runs.prepare(model, train, recipe)
    states = STATES.value and pathlib.Path(STATES.value) / f"{name}_{seed}"
    training.train(model, train, test, recipe, log_dir=states)
    objective = training.objective_of(model)
    for row in robustness.measure_task(model, test, recipe, wanted):
        yield robustness.result_row(
            row,
            metric=objective.figure,
            protocol=f"{EPOCHS.value} epochs of {len(train)} clouds, "
            + runs.protocol_of(recipe, preset),
            test_clouds=len(test),
            weights="backbone",
        )


if __name__ == "__main__":
    app.run(main)
