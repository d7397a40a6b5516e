"""Measures updates at test time: LoTT's accuracy with them and without.

    python scripts/measure_test_time.py --output=zoo/results/test_time.csv

The method is trained on clean clouds; those it is measured on are clean or
corrupted (`keras_pointpeft.data.CORRUPTIONS`). Of each cloud,
`keras_pointpeft.training.TestTimeUpdate` makes an update before it is
predicted. A row has both accuracies, of the same model and clouds, and how
many predictions the updates changed.
"""

import time

import numpy as np
from absl import app
from absl import flags

OUTPUT = flags.DEFINE_string(
    "output", None, "CSV file to add rows to.", required=True
)
PRESET = flags.DEFINE_string(
    "preset", "lott_pointmaetiny_shapes", "Of the method LoTT."
)
SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of the runs.")
EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs of each run.")
LIMIT = flags.DEFINE_integer("limit", 480, "Clouds to learn from.")
TEST_LIMIT = flags.DEFINE_integer("test_limit", 200, "Clouds to measure on.")
CORRUPTIONS = flags.DEFINE_list(
    "corruptions", ["noise", "occlusion", "rotation"], "Beside clean clouds."
)
SEVERITIES = flags.DEFINE_list("severities", ["3"], "1 to 5.")
RATES = flags.DEFINE_list(
    "rates", ["0.0001", "0.001"], "Learning rates of the update."
)


def main(_):
    from keras_pointpeft import presets
    from keras_pointpeft.experiments import robustness

    severities = [int(text) for text in SEVERITIES.value]
    pairs = robustness.pairs(CORRUPTIONS.value, severities)
    preset = presets.resolve(PRESET.value)
    for seed in map(int, SEEDS.value):
        for row in measured(preset, seed, pairs):
            print(row, flush=True)


def measured(preset, seed, pairs):
    """Trains once, and yields a row for each kind of clouds and rate."""
    from keras_pointpeft import training
    from keras_pointpeft.experiments import robustness
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.presets import results

    recipe = runs.recipe_for(
        preset, epochs=EPOCHS.value, seed=seed, selection="last"
    )
    train, test = (
        runs.load_split(preset, split, limit=limit)
        for split, limit in (("train", LIMIT.value), ("test", TEST_LIMIT.value))
    )
    protocol = f"{EPOCHS.value} epochs of {len(train)} clouds, "
    about = {
        "preset": preset.name,
        "dataset": preset.dataset,
        "seed": seed,
        "protocol": protocol + runs.protocol_of(recipe, preset),
        "test_clouds": len(test),
        "weights": "backbone",
    }
    rows = results.read(OUTPUT.value, results.TEST_TIME)
    left = {}
    for rate in map(float, RATES.value):
        left[rate] = [
            (corruption, severity)
            for corruption, severity in pairs
            if results.find(
                rows,
                {
                    **about,
                    "corruption": corruption,
                    "severity": severity,
                    "learning_rate": rate,
                },
            )
            is None
        ]
    if not any(left.values()):
        return
    model = runs.build_model(
        preset, recipe, **runs.task_arguments(preset, train, test)
    )
    training.train(model, train, test, recipe)
    for rate, wanted in left.items():
        update = training.TestTimeUpdate(model, learning_rate=rate)
        found = []

        def figure(clouds):
            found.append(compared(model, update, clouds))
            return found[-1]["with_updates"] / 100

        for row in robustness.measure(
            figure,
            test,
            wanted,
            recipe.num_points,
            recipe.evaluation_sampling,
            model.fewest_points,
        ):
            row = robustness.result_row(row, **about, **found.pop())
            row = {name: row[name] for name in results.TEST_TIME if name in row}
            results.append_row(OUTPUT.value, row, results.TEST_TIME)
            yield row


def compared(model, update, clouds):
    """What the updates change of a model's predictions on a split."""
    from keras_pointpeft.commands import Progress

    with Progress("predicting without updates"):
        without = model.predict(clouds.points, verbose=0).argmax(-1)
    begin = time.process_time()
    after = update.predict(clouds.points).argmax(-1)
    seconds = (time.process_time() - begin) / len(clouds)

    def percent(found):
        return round(100 * float(np.mean(found)), 2)

    return {
        "masked": update.masked,
        "updates": update.updates,
        "learning_rate": update.learning_rate,
        "without": percent(without == clouds.labels),
        "with_updates": percent(after == clouds.labels),
        "changed": percent(after != without),
        "cpu_seconds": round(seconds, 4),
    }


if __name__ == "__main__":
    app.run(main)
