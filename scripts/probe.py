"""Judges backbones by linear probes: what a frozen backbone's features tell.

    python scripts/probe.py --backbones=pointmaetiny_shapes \
        --data=psb69=DIR,dales5=DIR --results=zoo/results/probes.csv

Each seed draws the points that every cloud shows, the features are computed
once, and two classifiers are trained on them: a linear one (logistic
regression), and the head that the presets of `linear` train. A row is one seed;
a row that stands in the file is not measured again.
"""

import datetime

import numpy as np
from absl import app
from absl import flags

BACKBONES = flags.DEFINE_list(
    "backbones", None, "Backbones' presets or directories; NAME=DIR names one."
)
DATA = flags.DEFINE_list(
    "data", None, "NAME=DIR of .h5 clouds as ScanObjectNN's, or 'shapes'."
)
SEEDS = flags.DEFINE_integer("seeds", 3, "Seeds.", lower_bound=1)
NUM_POINTS = flags.DEFINE_integer("num_points", 512, "Points of a cloud.")
EPOCHS = flags.DEFINE_integer("epochs", 60, "Epochs of the head.")
RESULTS = flags.DEFINE_string("results", None, "CSV file to add rows to.")
flags.mark_flags_as_required(["backbones", "data", "results"])


def main(_):
    import keras

    import keras_pointpeft
    from keras_pointpeft.commands import Progress
    from keras_pointpeft.presets import results

    rows = results.read(RESULTS.value, results.PROBES)
    done = {(row["backbone"], row["dataset"], row["seed"]) for row in rows}
    sets = {}
    for text in BACKBONES.value:
        name, _, place = text.partition("=")
        wanted = [
            (entry, seed)
            for entry in DATA.value
            for seed in range(SEEDS.value)
            if (name, entry.partition("=")[0], str(seed)) not in done
        ]
        if not wanted:
            continue
        backbone = keras_pointpeft.from_preset(place or name)
        for entry, seed in wanted:
            if entry not in sets:
                sets[entry] = splits(entry)
            train, test = sets[entry]
            with Progress(f"probing {name}"):
                linear, head = probe(
                    backbone, train, test, seed, NUM_POINTS.value, EPOCHS.value
                )
            row = {
                "backbone": name,
                "dataset": entry.partition("=")[0],
                "seed": seed,
                "linear": f"{linear:.2f}",
                "head": f"{head:.2f}",
                "parameters": backbone.count_params(),
                "num_points": NUM_POINTS.value,
                "head_epochs": EPOCHS.value,
                "train_clouds": len(train),
                "test_clouds": len(test),
                "backend": keras.backend.backend(),
                "version": keras_pointpeft.__version__,
                "date": datetime.date.today().isoformat(),
            }
            results.append_row(RESULTS.value, row, results.PROBES)
            print(*(row[key] for key in results.PROBES[:5]), flush=True)


def splits(entry):
    """The train and the test split of one data set, in the unit sphere."""
    import dataclasses

    from keras_pointpeft import data

    name, _, folder = entry.partition("=")
    found = []
    for part in ("train", "test"):
        if folder:
            split = data.load("h5", folder, split=part)
        elif name == "shapes":
            split = data.load("shapes", split=part, cache=True)
        else:
            raise app.UsageError(
                "--data takes NAME=DIR, or 'shapes' alone. "
                f"Received: --data={entry}"
            )
        points = data.unit_sphere(split.points)
        found.append(dataclasses.replace(split, points=points))
    return found


def probe(backbone, train, test, seed, num_points, epochs):
    """Accuracies in percent of a linear classifier and of a head."""
    import keras
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from keras_pointpeft.models import PointCloudClassifier

    keras.utils.set_random_seed(seed)
    task = PointCloudClassifier(backbone, train.num_classes)
    pooled = keras.Model(task.input, task.get_layer("token_pooling").output)
    rng = np.random.default_rng(seed)
    features = []
    for split in (train, test):
        drawn = rng.permutation(split.points.shape[1])[:num_points]
        clouds = np.ascontiguousarray(split.points[:, drawn])
        features.append(pooled.predict(clouds, batch_size=64, verbose=0))
    scaler = StandardScaler().fit(features[0])
    known, unknown = (scaler.transform(each) for each in features)
    linear = LogisticRegression(C=0.01, max_iter=2000)
    linear.fit(known, train.labels)
    head = keras.Sequential([keras.Input(features[0].shape[1:]), task.head])
    steps = epochs * -(-len(train) // 32)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    head.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    head.fit(features[0], train.labels, 32, epochs=epochs, verbose=0)
    logits = head.predict(features[1], batch_size=256, verbose=0)
    return (
        100 * linear.score(unknown, test.labels),
        100 * float(np.mean(logits.argmax(axis=1) == test.labels)),
    )


if __name__ == "__main__":
    app.run(main)
