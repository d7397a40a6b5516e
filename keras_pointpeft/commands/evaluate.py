"""Measures an adapter, a preset or a preset directory on a test split.

    keras-pointpeft evaluate --adapter=runs/my_scans/adapter --data=my_scans
    keras-pointpeft evaluate --preset=dapt_pointmae_scanobjectnn \\
        --data=/data/ScanObjectNN
    keras-pointpeft evaluate --adapter=runs/my_scans/adapter --data=my_scans \\
        --corruptions=all --severities=1,3,5 --rows=corrupted.csv

An adapter knows its preset, its data set and how clouds were prepared: what
is not said here is as it was in training. Classes are matched by their names;
one that the model does not know is an error. Prints what papers report for
the preset beside what is measured here.
"""

from absl import app
from absl import flags
from absl import logging
from rich.console import Console
from rich.table import Table

import keras_pointpeft
from keras_pointpeft import experiments
from keras_pointpeft import presets
from keras_pointpeft import training
from keras_pointpeft.commands import shared

FLAGS = flags.FlagValues()
define = shared.definer(FLAGS)
PRESET = define(
    "preset",
    "string",
    "A preset: model, data set and published figures. The adapter's own by "
    "default.",
)
MODEL_DIR = define(
    "model_dir",
    "string",
    "A directory written by save_to_preset, for the model.",
)
ADAPTER = define(
    "adapter",
    "string",
    "A directory written by save_adapter, or a handle hf://OWNER/NAME.",
)
shared.data_flags(FLAGS)
shared.recipe_flags(
    FLAGS, ("votes", "num_points", "batch_size", "column_size", "seed")
)
define(
    "backbone",
    "string",
    "Preset directory of the backbone that the adapter was trained on.",
)
SPLIT = define("split", "string", "Which split.", default="test")
PER_CLASS = define("per_class", "bool", "Print each class too.", default=False)
CORRUPTIONS = define(
    "corruptions",
    "list",
    "Measure on corrupted clouds: noise, dropout, occlusion ...; 'all' for "
    "all that there are.",
    default=[],
)
SEVERITIES = define(
    "severities", "list", "Of them.", default=["1", "2", "3", "4", "5"]
)
ROWS = define(
    "rows",
    "string",
    "CSV file to which the figures on corrupted clouds are added.",
)

USAGE = "--adapter=DIR --data=DIR [flags]"
GROUPS = {
    "What to measure": ["adapter", "preset", "model_dir", "backbone"],
    "On which clouds": [
        "dataset",
        "data",
        "split",
        "up_axis",
        "bin_columns",
        "on_bad",
        "limit",
    ],
    "How": ["votes", "num_points", "batch_size", "seed"],
    "Scenes": ["test_area", "column_size"],
    "Corrupted clouds": ["corruptions", "severities", "rows"],
    "What to print": ["per_class"],
}


def main(_):
    if not (PRESET.value or MODEL_DIR.value or ADAPTER.value):
        raise app.UsageError(
            "--adapter=DIR, --preset=NAME or --model_dir=DIR is missing. "
            "Received: none of them"
        )
    contract = None
    if ADAPTER.value is not None:
        contract = keras_pointpeft.adapters.read_contract(ADAPTER.value)
    name = PRESET.value or (contract and contract.preset)
    preset = presets.resolve(name) if name is not None else None
    dataset = FLAGS.dataset or (contract and contract.dataset)
    dataset = shared.need_data(FLAGS, preset, dataset)
    trained = MODEL_DIR.value or ADAPTER.value
    if not trained and preset.weights is None:
        raise app.UsageError(
            "No tuned weights are published for this preset. Train it with "
            "keras-pointpeft train and pass --adapter=DIR or --model_dir=DIR. "
            f"Received: --preset={preset.name}"
        )
    recipe = make_recipe(preset, contract)
    split = experiments.runs.load_split(
        preset,
        SPLIT.value,
        FLAGS.data,
        dataset,
        FLAGS.limit,
        **options(dataset, contract),
    )
    model = make_model()
    contract = experiments.runs.contract_for(model, preset)
    if isinstance(split, list) or not contract.class_names:
        logging.info("Classes are matched by their numbers: no names known.")
    else:
        split = split.with_classes(contract.class_names, contract.part_names)
    tell_settings(contract, recipe)
    if CORRUPTIONS.value:
        corrupted(model, name or MODEL_DIR.value, split, recipe, dataset)
        return
    if hasattr(model, "predict_room") or hasattr(model, "predict_parts"):
        segmentation(model, name or MODEL_DIR.value, split, recipe)
        return
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
    same_data = preset is not None and dataset == preset.loader
    print_table(preset if same_data else None, split, evaluation)
    if PER_CLASS.value:
        print_classes(split, evaluation)


def options(dataset, contract):
    """Arguments of the loader: as in training, unless flags say otherwise."""
    given = shared.loader_options(FLAGS, FLAGS.num_points, dataset)
    if contract is None:
        return given
    names = ["test_area", "on_bad"]
    if dataset in ("folder", "s3dis"):
        names.append("up_axis")
    if dataset in ("folder", "s3dis", "h5"):
        names += ["channels", "color_range"]
    if dataset == "folder":
        names.append("bin_columns")
    known = {name: getattr(contract, name) for name in names}
    if dataset == "folder":
        known["num_points"] = contract.stored_points
    if dataset == "s3dis":
        known["class_names"] = contract.part_names
    return {**{k: v for k, v in known.items() if v is not None}, **given}


def make_recipe(preset, contract):
    """How it is measured: as in training, unless flags say otherwise."""
    changes = {"batch_size": 32, "votes": 1, "seed": 0}
    if contract is not None:
        changes.update(
            num_points=contract.num_points,
            evaluation_sampling=contract.sampling,
            sampling=contract.training_sampling,
            augmentation=contract.augmentation,
            column_size=contract.column_size,
            column_stride=contract.column_stride,
        )
    changes.update(shared.recipe_changes(FLAGS))
    changes = {k: v for k, v in changes.items() if v is not None}
    if preset is None:
        return training.Recipe(**changes)
    return experiments.runs.recipe_for(preset, **changes)


def tell_settings(contract, recipe):
    """Warns where flags ask for other settings than those of training."""
    for name, here in (
        ("num_points", recipe.num_points),
        ("column_size", recipe.column_size),
    ):
        trained = getattr(contract, name)
        if trained is not None and here is not None and here != trained:
            logging.warning(
                "The model was trained with %s=%s and is measured with %s.",
                name,
                trained,
                here,
            )


def segmentation(model, title, split, recipe):
    """Figures of parts or scenes."""
    objective = training.objective_of(model)
    objective.check(split, split)
    table = Table("figure", "percent", title=f"{title}, {SPLIT.value}")
    for name, value in objective.measure(split, recipe).items():
        table.add_row(name, f"{100 * value:.2f}")
    Console().print(table)
    print(f"{len(split)} clouds or rooms, {recipe.votes} vote(s)")


def corrupted(model, title, split, recipe, dataset):
    """Figures on corrupted clouds, as rows and as a table."""
    if isinstance(split, list) or recipe.votes > 1:
        raise app.UsageError(
            "Corruptions are of clouds, not of scenes, and measured without "
            f"votes. Received: --corruptions={','.join(CORRUPTIONS.value)} "
            f"with {recipe.votes} vote(s) on {dataset}"
        )
    robustness, results = experiments.robustness, presets.results
    objective = training.objective_of(model)
    rows = []
    for row in robustness.measure_task(
        model, split, recipe, wanted_corruptions()
    ):
        rows.append(row)
        if ROWS.value is None:
            continue
        known = {
            "preset": title,
            "dataset": dataset,
            "metric": objective.figure,
            "protocol": SPLIT.value,
            "test_clouds": len(split),
            "weights": ADAPTER.value or MODEL_DIR.value or "published",
        }
        row = robustness.result_row(row, **known)
        results.append_row(ROWS.value, row, results.CORRUPTED)
    name = f"{title}, {SPLIT.value}: {objective.figure} in percent"
    Console().print(robustness.table(rows, name))
    entry = robustness.summary([{"preset": title, **row} for row in rows])[0]
    print(
        f"mean corruption error {100 - entry['mean']:.2f}, "
        f"{entry['drop']:.2f} below clean clouds ({len(split)} clouds)"
    )


def wanted_corruptions():
    """What the flags ask for."""
    names = None if CORRUPTIONS.value == ["all"] else CORRUPTIONS.value
    try:
        severities = [int(text) for text in SEVERITIES.value]
        return experiments.robustness.pairs(names, severities)
    except ValueError as error:
        raise app.UsageError(str(error)) from error


def make_model():
    source = MODEL_DIR.value or PRESET.value
    if ADAPTER.value is not None:
        # On a preset that the user names, or on the adapter's own.
        return keras_pointpeft.from_adapter(
            ADAPTER.value, FLAGS.backbone, source
        )
    model = keras_pointpeft.from_preset(source)
    if not hasattr(model, "num_classes"):
        raise app.UsageError(
            "Only a model with a head can be evaluated. "
            f"Received: {source}, a {type(model).__name__}"
        )
    return model


def print_table(preset, split, evaluation):
    heads = ("", "accuracy", "mean over classes", "protocol", "source")
    table = Table(*heads, title=f"Accuracy on {split.name}, in percent")
    for row in published_rows(preset):
        others = row.get("measured_by")
        name = f"run again by the {others}" if others else "published"
        figures = row["value"], row.get("deviation")
        value = " ± ".join(filter(None, figures))
        table.add_row(name, value, "", row["protocol"], row["source"])
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
    measured, then the tables of papers, and last what others have found who
    ran the method again.
    """
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
    path = presets.cards.zoo_directory() / "results" / "published.csv"
    return rows + [
        row
        for row in presets.results.read(path, presets.results.PUBLISHED)
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
