"""Measures updates at test time: LoTT's accuracy with them and without.

    python scripts/measure_test_time.py --output=zoo/results/test_time.csv

The method is trained on clean clouds; those it is measured on are clean or
corrupted (`keras_pointpeft.data.CORRUPTIONS`). Of each cloud,
`keras_pointpeft.training.TestTimeUpdate` makes an update before it is
predicted. A row has both accuracies, of the same model and clouds, and how
many predictions the updates changed.
"""

import datetime
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
CORRUPTED = flags.DEFINE_list(
    "corrupted",
    ["none", "noise:3", "occlusion:3", "rotation:3"],
    "Corruptions with severities from 1 to 5; 'none' for clean clouds.",
)
RATES = flags.DEFINE_list(
    "rates", ["0.0001", "0.001"], "Learning rates of the update."
)


def main(_):
    from keras_pointpeft import presets
    from keras_pointpeft.data import corruption

    pairs = [parsed(text) for text in CORRUPTED.value]
    for name, severity in pairs:
        if severity:
            corruption.check(name, severity)
    preset = presets.resolve(PRESET.value)
    for seed in map(int, SEEDS.value):
        for row in measured(preset, seed, pairs):
            print(row, flush=True)


def parsed(text):
    """`"noise:3"` as `("noise", 3)`, and `"none"` as `("none", 0)`."""
    name, _, severity = text.partition(":")
    if text != "none" and not severity.isdigit():
        raise app.UsageError(
            "--corrupted are 'none' or corruptions with a severity, such as "
            f"noise:3. Received: {text!r}"
        )
    return name, int(severity or 0)


def measured(preset, seed, pairs):
    """Trains once, and yields a row for each kind of clouds and rate."""
    from keras_pointpeft import training
    from keras_pointpeft.data import corruption
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
    protocol += runs.protocol_of(recipe, preset)
    about = {
        "preset": preset.name,
        "dataset": preset.dataset,
        "seed": seed,
        "protocol": protocol,
        "test_clouds": len(test),
    }
    wanted = [
        {"corruption": name, "severity": severity, "learning_rate": float(rate)}
        for name, severity in pairs
        for rate in RATES.value
    ]
    rows = results.read(OUTPUT.value, results.TEST_TIME)
    wanted = [
        kind for kind in wanted if not results.find(rows, {**about, **kind})
    ]
    if not wanted:
        return
    model = runs.build_model(
        preset, recipe, **runs.task_arguments(preset, train, test)
    )
    training.train(model, train, test, recipe)
    test = corruption.sampled(
        test, recipe.num_points, recipe.evaluation_sampling
    )
    for kind in wanted:
        clouds = test
        if kind["severity"]:
            clouds = corruption.corrupt_split(
                test, kind["corruption"], kind["severity"]
            )
        row = {
            **about,
            **kind,
            **compared(model, clouds, kind["learning_rate"]),
        }
        results.append_row(OUTPUT.value, row, results.TEST_TIME)
        yield row


def compared(model, clouds, rate):
    """What the updates change of a model's predictions on a split."""
    import keras

    from keras_pointpeft import __version__
    from keras_pointpeft import training
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.files.progress import Progress

    update = training.TestTimeUpdate(model, learning_rate=rate)
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
        "without": percent(without == clouds.labels),
        "with_updates": percent(after == clouds.labels),
        "changed": percent(after != without),
        "cpu_seconds": round(seconds, 4),
        "weights": "backbone",
        "backend": keras.backend.backend(),
        "device": runs.device_name(),
        "version": __version__,
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    app.run(main)
