"""Measures DAPT's scales: which tokens they let through, and what that gives.

    python scripts/measure_scales.py --data=DIR --output=zoo/results/scales.csv

DIR has folders in ScanObjectNN's h5 layout; `shapes` are the procedural scans.
Each set is trained from each seed with each of --methods, with the same
updates. A row has the accuracy after the last epoch and, block by block, the
share of tokens whose scale is not 0 before and after training. Seeds are the
outer loop, so that a file is whole after each; runs that it has already are
not run again.
"""

import pathlib
import time

from absl import app
from absl import flags

DATA = flags.DEFINE_string("data", None, "Folder of the sets.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "CSV file.", required=True)
SETS = flags.DEFINE_list(
    "sets", ["shapes", "dales5", "psb69", "restaurant20"], "What to train on."
)
METHODS = flags.DEFINE_list(
    "methods",
    [
        "dapt:scale_start=random:scale_leak=0.0",
        "dapt:scale_start=one:scale_leak=0.1",
        "dapt:scale_start=one:scale_leak=0.1:scale_step=0.1",
    ],
    "Methods, as scripts/compare.py takes them.",
)
SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds.")
UPDATES = flags.DEFINE_integer("updates", 200, "Updates of each run.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Clouds of an update.")
TEST_CLOUDS = flags.DEFINE_integer("test_clouds", 300, "At most so many.")
# Clouds whose tokens are looked at.
LOOKED_AT = 32


def main(_):
    from keras_pointpeft import presets
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.presets import results

    rows = results.read(OUTPUT.value, results.SCALES)
    preset = presets.resolve("dapt_pointmaetiny_shapes")
    for seed in SEEDS.value:
        for name in SETS.value:
            data_dir = pathlib.Path(DATA.value) / name
            loader = (None, "shapes") if name == "shapes" else (data_dir, "h5")
            train = runs.load_split(preset, "train", *loader)
            test = runs.load_split(preset, "test", *loader, TEST_CLOUDS.value)
            for method in METHODS.value:
                entrant, recipe = entrant_of(method, int(seed))
                run = run_of(name, method, recipe, train, test)
                if results.find(rows, run) is not None:
                    continue
                row = measure(entrant, recipe, train, test, run)
                results.append_row(OUTPUT.value, row, results.SCALES)
                print(row, flush=True)


def entrant_of(method, seed):
    """Who runs, and the recipe."""
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.experiments.comparison import Entrant

    entrant = Entrant.from_text(method, "pointmaetiny", "shapes")
    recipe = runs.recipe_for(
        entrant.preset,
        updates=UPDATES.value,
        batch_size=BATCH_SIZE.value,
        selection="last",
        seed=seed,
    )
    return entrant, recipe


def measure(entrant, recipe, train, test, run):
    """A row of one run."""
    from keras_pointpeft import training

    model = entrant.model(recipe, train, test)
    live = training.LiveParts(test.points[:LOOKED_AT, : recipe.num_points])
    begin = time.perf_counter()
    result = training.train(model, train, test, recipe, callbacks=[live])
    after = scales(live.shares[-1])
    return {
        **run,
        "last_accuracy": round(100 * result.last_accuracy, 2),
        "live_before": words(scales(live.shares[0])),
        "live_after": words(after),
        "shut_after": after.count(0),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def scales(shares):
    return [own["scale"] for own in shares.values()]


def words(values):
    return " ".join(f"{value:.3f}" for value in values)


def run_of(name, method, recipe, train, test):
    """What a run is known by in the file: all that a flag can change."""
    return {
        "set": name,
        "method": method,
        "seed": recipe.seed,
        "updates": recipe.updates,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "train_clouds": len(train),
        "test_clouds": len(test),
    }


if __name__ == "__main__":
    app.run(main)
