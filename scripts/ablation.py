"""Which parts of a method help, where few clouds of each class are known.

    python scripts/ablation.py --results=zoo/results/ablation.csv \
        --methods=linear,pointpeft,pointpeft:prior=False --shots=10,20,50

Each seed draws its clouds, the same ones for all methods, and trains for the
preset's epochs on them; there is nothing to hold out, the last epoch counts. A
row is a run, written as it ends; the same command goes on with what is missing.
`scripts/zoo_table.py` makes the table.
"""

import numpy as np
from absl import app
from absl import flags

METHODS = flags.DEFINE_list(
    "methods",
    [
        "linear",
        "pointpeft",
        "pointpeft:prior=False",
        "dapt",
        "dapt:internal_prompts=False",
        "dapt:dynamic_scale=False",
    ],
    "Methods, with other arguments as scripts/compare.py takes them.",
)
SHOTS = flags.DEFINE_list("shots", ["10", "20", "50"], "Clouds of each class.")
SEEDS = flags.DEFINE_integer("seeds", 5, "Seeds 0, 1 ...", lower_bound=1)
BACKBONE = flags.DEFINE_string("backbone", "pointmaetiny", "Of the zoo.")
DATASET = flags.DEFINE_string("dataset", "shapes", "Of the zoo.")
DATA = flags.DEFINE_string("data", None, "Folder of the data set's files.")
EPOCHS = flags.DEFINE_integer("epochs", None, "Epochs. The preset's if unset.")
TEST_CLOUDS = flags.DEFINE_integer(
    "test_clouds", None, "At most so many clouds to test on."
)
RESULTS = flags.DEFINE_string("results", None, "CSV file to add rows to.")
flags.mark_flag_as_required("results")


def main(_):
    from keras_pointpeft.experiments import comparison
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.presets import results

    entrants = [
        comparison.Entrant.from_text(text, BACKBONE.value, DATASET.value)
        for text in METHODS.value
    ]
    first = entrants[0].preset
    train = runs.load_split(first, "train", DATA.value)
    test = runs.load_split(first, "test", DATA.value, limit=TEST_CLOUDS.value)
    for shots in parsed_shots():
        for seed in range(SEEDS.value):
            few = drawn(train, shots, seed)
            for entrant in entrants:
                run_once(comparison, runs, results, entrant, few, test, seed)


def parsed_shots():
    if not all(text.isdigit() and int(text) for text in SHOTS.value):
        raise app.UsageError(
            "--shots are positive integers with commas between them. "
            f"Received: --shots={','.join(SHOTS.value)}"
        )
    return [int(text) for text in SHOTS.value]


def drawn(split, shots, seed):
    """As many clouds of each class, drawn by the seed."""
    rng = np.random.default_rng(seed)
    rows = []
    for label, name in enumerate(split.class_names):
        own = np.flatnonzero(split.labels == label)
        if len(own) < shots:
            raise app.UsageError(
                f"There are {len(own)} clouds of {name}. "
                f"Received: --shots={shots}"
            )
        rows.append(rng.choice(own, shots, replace=False))
    few = split.take(np.sort(np.concatenate(rows)))
    return shots, few


def run_once(comparison, runs, results, entrant, few, test, seed):
    """Trains one method once, unless its row is there."""
    shots, train = few
    recipe = runs.recipe_for(
        entrant.preset, epochs=EPOCHS.value, seed=seed, selection="last"
    )
    dataset = f"{DATASET.value}, {shots} of each class"
    rows = results.read(RESULTS.value, results.COMPARED)
    if comparison.known(rows, entrant, recipe, dataset, "backbone"):
        return
    row = comparison.run(entrant, recipe, train, test, dataset)
    results.append_row(RESULTS.value, row, results.COMPARED)
    print(
        f"{dataset}, seed {seed}, {entrant.preset.method} "
        f"{entrant.changes_text}: {row['last_accuracy']} %",
        flush=True,
    )


if __name__ == "__main__":
    app.run(main)
