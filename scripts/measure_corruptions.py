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
    runs = []
    for seed in map(int, SEEDS.value):
        for method in METHODS.value:
            run = Run(f"{method}_{BACKBONE.value}_{DATASET.value}", seed)
            known = run.known()
            runs.append(known)
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
            for row in run.measure(left):
                row = robustness.result_row(row, metric=run.metric, **known)
                results.append_row(OUTPUT.value, row, results.CORRUPTED)
                print(
                    run.name, row["corruption"], row["severity"], row["value"]
                )
    rows = results.read(OUTPUT.value, results.CORRUPTED)
    rows = [row for row in rows if any(results.find([row], x) for x in runs)]
    for entry in robustness.summary(rows):
        print(
            f"{entry['preset']}: clean {entry['clean']:.2f}, corrupted "
            f"{entry['mean']:.2f}, drop {entry['drop']:.2f}"
        )


class Run:
    """One training, and what its rows are known by.

    Args:
        name: string, of a preset.
        seed: int.
    """

    def __init__(self, name, seed):
        from keras_pointpeft import presets
        from keras_pointpeft.experiments import runs

        self.name, self.preset = name, presets.resolve(name)
        self.recipe = runs.recipe_for(
            self.preset, epochs=EPOCHS.value, seed=seed, selection="last"
        )
        self.train, self.test = (
            runs.load_split(self.preset, split, limit=limit)
            for split, limit in (
                ("train", LIMIT.value),
                ("test", TEST_LIMIT.value),
            )
        )

    def known(self):
        """Columns by which a run is found: all that a flag can change."""
        from keras_pointpeft.experiments import runs

        return {
            "preset": self.name,
            "dataset": DATASET.value,
            "seed": self.recipe.seed,
            "protocol": f"{EPOCHS.value} epochs of {len(self.train)} clouds, "
            + runs.protocol_of(self.recipe, self.preset),
            "test_clouds": len(self.test),
            "weights": "backbone",
        }

    def measure(self, wanted):
        """Trains and measures; yields figures."""
        from keras_pointpeft import training
        from keras_pointpeft.experiments import robustness
        from keras_pointpeft.experiments import runs

        preset, recipe = self.preset, self.recipe
        model = runs.build_model(
            preset,
            recipe,
            **runs.task_arguments(preset, self.train, self.test),
        )
        runs.prepare(model, self.train, recipe)
        states = None
        if STATES.value:
            states = pathlib.Path(STATES.value) / f"{self.name}_{recipe.seed}"
        self.metric = training.objective_of(model).figure
        training.train(model, self.train, self.test, recipe, log_dir=states)
        yield from robustness.measure_task(model, self.test, recipe, wanted)


if __name__ == "__main__":
    app.run(main)
