"""Measures which epoch to keep on small sets: the last, or a chosen one.

    python scripts/measure_selection.py --data=DIR --output=small_sets.csv

DIR has folders in ScanObjectNN's h5 layout, those of --sets. Of each, a few
classes with a few clouds are drawn, seed by seed, and trained twice: with a
tenth held out, by which an epoch is chosen, and as `selection="auto"` does.
Runs that the file has already are not run again.
"""

import csv
import pathlib
import statistics

import numpy as np
from absl import app
from absl import flags

DATA = flags.DEFINE_string("data", None, "Folder of the sets.", required=True)
OUTPUT = flags.DEFINE_string(
    "output", None, "CSV file to add rows to.", required=True
)
SETS = flags.DEFINE_list(
    "sets",
    ["psb69:8:20:4", "restaurant20:10:16:3", "dales5:5:32:3"],
    "Folder, classes, clouds of each to learn from, and seeds.",
)
PRESET = flags.DEFINE_string(
    "preset", "dapt_pointmaetiny_shapes", "What to train."
)
UPDATES = flags.DEFINE_integer("updates", 160, "Updates of each run.")
NUM_POINTS = flags.DEFINE_integer("num_points", 256, "Points of a cloud.")
COLUMNS = (
    "set",
    "seed",
    "train_clouds",
    "test_clouds",
    "held_out",
    "last",
    "chosen",
    "chosen_epoch",
    "epochs",
    "auto",
    "preset",
    "classes",
    "shots",
    "updates",
    "num_points",
)


def main(_):
    from keras_pointpeft import data

    path = pathlib.Path(OUTPUT.value)
    rows = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    for text in SETS.value:
        name, ways, shots, seeds = text.split(":")
        runs = [run_of(name, ways, shots, seed) for seed in range(int(seeds))]
        todo = [s for s, run in enumerate(runs) if not is_known(run, rows)]
        if not todo:
            continue
        folder = pathlib.Path(DATA.value) / name
        train, test = (
            data.load("h5", folder, split=s) for s in ("train", "test")
        )
        counts = np.sort(np.bincount(test.labels, minlength=test.num_classes))
        queries = min(12, int(counts[-int(ways)]))
        for seed in todo:
            support, query = data.sample_episode(
                train, int(ways), int(shots), queries, seed=seed, test=test
            )
            row = {**runs[seed], **measure(support, query, seed)}
            rows.append(row)
            with open(path, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            print(row, flush=True)
    for name in ("last", "chosen", "auto"):
        mean = statistics.fmean(float(row[name]) for row in rows)
        print(f"{name}: {mean:.2f} % over {len(rows)} runs")


def run_of(name, ways, shots, seed):
    """What a run is known by in the file: all that a flag can change."""
    return {
        "set": name,
        "seed": str(seed),
        "preset": PRESET.value,
        "classes": ways,
        "shots": shots,
        "updates": str(UPDATES.value),
        "num_points": str(NUM_POINTS.value),
    }


def is_known(run, rows):
    """Whether a row is of this run; what rows of before do not say, fits."""
    return any(
        all((row.get(name) or value) == value for name, value in run.items())
        for row in rows
    )


def measure(support, query, seed):
    """Both ways from one seed, in percent."""
    held = train(support, query, seed, "held_out")
    auto = train(support, query, seed, "auto")
    return {
        "train_clouds": len(support),
        "test_clouds": len(query),
        "held_out": len(support) - held.train_clouds,
        "last": round(100 * held.last_accuracy, 2),
        "chosen": round(100 * held.best_accuracy, 2),
        "chosen_epoch": held.best_epoch + 1,
        "epochs": len(held.history),
        "auto": round(100 * auto.best_accuracy, 2),
    }


def train(support, query, seed, selection):
    import keras

    import keras_pointpeft
    from keras_pointpeft import training

    keras.utils.set_random_seed(seed)
    model = keras_pointpeft.from_preset(
        PRESET.value, load_weights="backbone", num_classes=support.num_classes
    )
    recipe = training.Recipe(
        updates=UPDATES.value,
        batch_size=16,
        num_points=NUM_POINTS.value,
        learning_rate=4e-3,
        sampling="random",
        remat="none",
        selection=selection,
        seed=seed,
    )
    return training.train(model, support, query, recipe)


if __name__ == "__main__":
    app.run(main)
