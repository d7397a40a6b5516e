"""Evaluates a preset, a preset directory or an adapter on a test split.

    python scripts/evaluate.py --preset=dapt_pointmae_scanobjectnn \
        --data=/data/ScanObjectNN
    python scripts/evaluate.py --preset=dapt_pointmaetiny_shapes \
        --adapter=runs/dapt_pointmaetiny_shapes_seed0/adapter

Prints what papers report for the preset beside what is measured here.
"""

from absl import app
from absl import flags
from absl import logging
from rich.console import Console
from rich.table import Table

PRESET = flags.DEFINE_string(
    "preset", None, "A preset: model, data set and published figures."
)
MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "A directory written by save_to_preset, for the model."
)
ADAPTER = flags.DEFINE_string(
    "adapter", None, "A directory written by save_adapter, on the preset."
)
DATA = flags.DEFINE_string("data", None, "Folder of the data set's files.")
DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Another data set than the preset's; own clouds: 'folder' or 'h5'.",
)
SPLIT = flags.DEFINE_string("split", "test", "Which split.")
VOTES = flags.DEFINE_integer(
    "votes", 1, "Augmented passes to average; 1 for none.", lower_bound=1
)
NUM_POINTS = flags.DEFINE_integer(
    "num_points", None, "Points of a cloud. The preset's by default."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Clouds in a batch.")
LIMIT = flags.DEFINE_integer(
    "limit", None, "At most so many clouds.", lower_bound=1
)
SEED = flags.DEFINE_integer("seed", 0, "Of the votes.")
PER_CLASS = flags.DEFINE_bool("per_class", False, "Print each class too.")


def main(_):
    logging.set_verbosity(logging.INFO)
    from keras_pointpeft import presets
    from keras_pointpeft import training
    from keras_pointpeft.data import PROCEDURAL
    from keras_pointpeft.experiments import runs

    if PRESET.value is None and MODEL_DIR.value is None:
        raise app.UsageError(
            "--preset=NAME or --model_dir=DIR is missing. Received: neither"
        )
    preset = None
    if PRESET.value is not None:
        preset = presets.resolve(PRESET.value)
    dataset = DATASET.value or (preset and preset.loader)
    if dataset is None:
        raise app.UsageError(
            "--dataset=NAME is missing: a directory does not name its data "
            f"set, nor does a backbone. Received: --preset={PRESET.value}"
        )
    if DATA.value is None and dataset not in PROCEDURAL:
        raise app.UsageError(
            f"--data=DIR is missing: the folder of {dataset}. "
            "Received: no --data"
        )
    options = {}
    if dataset == "folder" and NUM_POINTS.value is not None:
        options["num_points"] = NUM_POINTS.value
    split = runs.load_split(
        preset, SPLIT.value, DATA.value, DATASET.value, LIMIT.value, **options
    )
    if preset is not None and preset.task_class != "PointCloudClassifier":
        segmentation(preset, split)
        return
    model = make_model(preset, num_classes=split.num_classes)
    recipe = make_recipe(preset)
    evaluation = training.evaluate(
        model,
        split,
        votes=recipe.votes,
        augmentation=recipe.augmentation,
        batch_size=recipe.batch_size,
        num_points=recipe.num_points,
        sampling=recipe.evaluation_sampling,
        vote_sampling=recipe.sampling,
        seed=recipe.seed,
    )
    same_data = preset is not None and DATASET.value is None
    print_table(preset if same_data else None, split, evaluation)
    if PER_CLASS.value:
        print_classes(split, evaluation)


def make_recipe(preset):
    """How the preset is measured: points and votes as in its training."""
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.training import Recipe

    changes = {
        "votes": VOTES.value,
        "batch_size": BATCH_SIZE.value,
        "seed": SEED.value,
    }
    if NUM_POINTS.value is not None:
        changes["num_points"] = NUM_POINTS.value
    if preset is None:
        return Recipe(**changes)
    return runs.recipe_for(preset, **changes)


def segmentation(preset, split):
    """Figures of parts or scenes."""
    from keras_pointpeft import training

    told = {}
    if ADAPTER.value is not None:
        told = adapter_arguments()
    model = make_model(preset, **told)
    objective = training.objective_of(model)
    objective.check(split, split)
    table = Table("figure", "percent", title=f"{preset.name}, {SPLIT.value}")
    for name, value in objective.measure(split, make_recipe(preset)).items():
        table.add_row(name, f"{100 * value:.2f}")
    Console().print(table)
    print(f"{len(split)} clouds or rooms, {VOTES.value} vote(s)")


def adapter_arguments():
    """What the adapter's task was told of its data."""
    from keras_pointpeft import adapters

    config = adapters.read_config(ADAPTER.value)["task_config"]
    names = ("num_classes", "num_categories", "category_parts")
    return {name: config[name] for name in names if name in config}


def make_model(preset, **told):
    import keras_pointpeft

    source = MODEL_DIR.value or PRESET.value
    if ADAPTER.value is not None:
        model = keras_pointpeft.from_preset(
            source, load_weights="backbone", **told
        )
        model.load_adapter(ADAPTER.value)
        return model
    if MODEL_DIR.value is None and preset.weights is None:
        raise app.UsageError(
            "No tuned weights are published for this preset. Train it with "
            "scripts/train.py and pass --adapter=DIR or --model_dir=DIR. "
            f"Received: --preset={preset.name}"
        )
    model = keras_pointpeft.from_preset(source)
    if not hasattr(model, "num_classes"):
        raise app.UsageError(
            "Only a model with a head can be evaluated. "
            f"Received: {source}, a {type(model).__name__}"
        )
    return model


def print_table(preset, split, evaluation):
    table = Table(title=f"Accuracy on {split.name}, in percent")
    for name in ("", "accuracy", "mean over classes", "protocol", "source"):
        table.add_column(name)
    for row in published_rows(preset):
        table.add_row(
            "published", row["value"], "", row["protocol"], row["source"]
        )
    votes = f"{evaluation.votes} votes" if evaluation.votes > 1 else "no votes"
    table.add_row(
        "measured",
        f"{100 * evaluation.accuracy:.2f}",
        f"{100 * evaluation.mean_class_accuracy:.2f}",
        votes,
        f"{len(split)} clouds",
    )
    Console().print(table)


def published_rows(preset):
    """What authors and papers report for the preset; nothing without one.

    First what the authors say of the weights that are loaded, with how it was
    measured, then the tables of papers.
    """
    from keras_pointpeft.presets import cards
    from keras_pointpeft.presets import results

    if preset is None:
        return []
    rows, weights = [], preset.weights or {}
    if "accuracy" in weights:
        rows.append(
            {
                "value": str(weights["accuracy"]),
                "protocol": weights["protocol"],
                "source": weights["source"],
            }
        )
    path = cards.zoo_directory() / "results" / "published.csv"
    return rows + [
        row
        for row in results.read(path, results.PUBLISHED)
        if row["preset"] == preset.name and row["metric"] == "accuracy"
    ]


def print_classes(split, evaluation):
    table = Table("class", "clouds", "accuracy")
    for label, name in enumerate(split.class_names):
        clouds = int(evaluation.confusion[label].sum())
        right = int(evaluation.confusion[label, label])
        share = f"{100 * right / clouds:.2f}" if clouds else ""
        table.add_row(name, str(clouds), share)
    Console().print(table)


if __name__ == "__main__":
    app.run(main)
