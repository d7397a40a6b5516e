"""Compares methods: the same start, splits and budget for all of them.

    keras-pointpeft compare --backbone=pointmaetiny --dataset=shapes \
        --methods=all --seeds=0,1,2

On parts and rooms the same, compared by mIoU:

    keras-pointpeft compare --dataset=shapesparts --methods=full,linear,dapt

Own rooms, in S3DIS' layout:

    keras-pointpeft compare --dataset=rooms --methods=full,dapt \
        --data=my_rooms --loader=s3dis --test_area=2 --num_classes=3

Own clouds, in ScanObjectNN's h5 layout or in folders by class, and a backbone
that `scripts/pretrain.py` made; `--dataset` then says whose recipe is used:

    keras-pointpeft compare --backbone=my_backbone --dataset=shapes \
        --data=my_clouds --loader=h5 --augmentation=scale_translate,rotate

Methods differ in the learning rate that suits them. The same few for each,
chosen on held-out clouds of the training split, from the first seed:

    keras-pointpeft compare --methods=ppt,lora,dapt --rate_factors=0.25,1,4

Writes into the output folder, named after the backbone and the data set or by
--name: `.csv`, one line per run, to which a second call only adds what is
missing; and `.png` and `.html`, accuracy against trained parameters; with
--rate_factors `_rates.csv`, what was tried. Prints means and deviations.
"""

import dataclasses
import math
import os
import pathlib
import shutil

from absl import app
from absl import flags
from absl import logging
from rich.console import Console

from keras_pointpeft import experiments
from keras_pointpeft import presets
from keras_pointpeft import reports
from keras_pointpeft import training
from keras_pointpeft.commands import shared

FLAGS = flags.FlagValues()
define = shared.definer(FLAGS)
BACKBONE = define(
    "backbone",
    "string",
    "A backbone of the zoo, or a preset directory.",
    default="pointmaetiny",
)
DATASET = define(
    "dataset",
    "string",
    "A data set of the zoo, whose recipe is used.",
    default="shapes",
)
METHODS = define(
    "methods",
    "list",
    "Methods of the zoo; 'all' for all that there are. With other arguments "
    "than the zoo's: pointpeft:prior=False:adapter_rank=8.",
    default=["all"],
)
NAME = define(
    "name", "string", "Name of the files. <backbone>_<data set> by default."
)
SEEDS = define("seeds", "list", "Seeds of the runs.", default=["0", "1", "2"])
flags.register_validator(
    "seeds",
    lambda texts: texts and all(text.isdecimal() for text in texts),
    "must be integers from 0, such as 0,1,2",
    flag_values=FLAGS,
)
shared.data_flags(
    FLAGS, ("data", "test_area", "limit", "up_axis", "bin_columns", "on_bad")
)
shared.channels_flag(FLAGS)
LOADER = define(
    "loader",
    "string",
    "How to read --data, if not as the data set: h5, folder.",
)
OUTPUT = define(
    "output", "string", "Folder to write to.", default="runs/compare"
)
WEIGHTS = define(
    "weights",
    "enum",
    "What training starts from.",
    ["backbone", "random"],
    default="backbone",
)
AUGMENTATION = define(
    "augmentation", "list", "scale_translate, rotate ...; several in a row."
)
NUM_CLASSES = define(
    "num_classes", "integer", "Classes of own scenes. The preset's by default."
)
shared.recipe_flags(
    FLAGS,
    (
        "epochs",
        "updates",
        "batch_size",
        "sampling",
        "num_points",
        "class_weights",
        "balanced_sampling",
        "column_size",
        "selection",
        "schedule",
    ),
)
RATE_FACTORS = define(
    "rate_factors",
    "list",
    "Each method trains with the best of its recipe's learning rate times "
    "these, by held-out clouds. The recipe's own by default.",
)
STATES = define(
    "states",
    "string",
    "Folder for the state of the run under way, from which the same command "
    "goes on inside of it. Without one, a run that is interrupted starts over.",
)

USAGE = "--backbone=BACKBONE --dataset=SET --methods=A,B,... [flags]"
GROUPS = {
    "What to compare": ["methods", "backbone", "weights", "seeds"],
    "On which clouds": ["dataset", "data", "loader", *shared.CLOUDS],
    "Scenes": ["test_area", "column_size", "num_classes"],
    "How long, and how": [
        "epochs",
        "updates",
        "batch_size",
        "augmentation",
        "sampling",
        "class_weights",
        "balanced_sampling",
        "selection",
        "schedule",
        "rate_factors",
    ],
    "What to write": ["output", "name", "states"],
}


def main(_):
    factors = rate_factors()
    comparison, runs = experiments.comparison, experiments.runs
    results = presets.results
    directory, backbone = None, BACKBONE.value
    if os.path.isdir(backbone):
        directory, backbone = backbone, comparison.backbone_of(backbone)
    methods = METHODS.value
    if methods == ["all"]:
        methods = comparison.methods_for(backbone, DATASET.value)
    entrants = [
        comparison.Entrant.from_text(method, backbone, DATASET.value)
        for method in methods
    ]
    first = entrants[0].preset
    options = shared.loader_options(
        FLAGS, FLAGS.num_points or first.num_points, LOADER.value
    )
    train_split, test_split = runs.load_splits(
        first, FLAGS.data, LOADER.value, FLAGS.limit, **options
    )
    # `--loader=shapes` needs no --data, and is not --dataset either.
    dataset = FLAGS.data or LOADER.value or DATASET.value
    dataset = pathlib.Path(dataset).name
    dataset = runs.dataset_name(dataset, FLAGS.test_area)
    output = pathlib.Path(OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    file = output / f"{NAME.value or f'{backbone}_{dataset}'}.csv"
    weights = directory or WEIGHTS.value
    columns = comparison.columns_for(first)
    figure = comparison.FIGURES[first.task_class]
    rates = {}

    def rate_of(entrant, recipe):
        """The rate of a method, chosen once, from the first seed."""
        if entrant.text not in rates:
            once = dataclasses.replace(recipe, seed=int(SEEDS.value[0]))
            rates[entrant.text] = experiments.rates.chosen(
                entrant,
                training.settled(once, None, train_split),
                factors,
                train_split,
                dataset,
                file.with_name(f"{file.stem}_rates.csv"),
                WEIGHTS.value,
                directory,
                NUM_CLASSES.value,
                FLAGS.limit,
            )
            logging.info("%s: rate %g", entrant.text, rates[entrant.text])
        return rates[entrant.text]

    for seed in SEEDS.value:
        for entrant in entrants:
            recipe = recipe_of(entrant.preset, int(seed))
            if factors is not None:
                recipe = dataclasses.replace(
                    recipe, learning_rate=rate_of(entrant, recipe)
                )
            recipe = training.settled(recipe, None, train_split)
            rows = results.read(file, columns)
            if comparison.known(
                rows, entrant, recipe, dataset, weights, FLAGS.limit
            ):
                continue
            state = state_folder(entrant, seed)
            row = comparison.run(
                entrant,
                recipe,
                train_split,
                test_split,
                dataset,
                WEIGHTS.value,
                directory,
                NUM_CLASSES.value,
                FLAGS.limit,
                state,
            )
            results.append_row(file, row, columns)
            if state is not None:
                shutil.rmtree(state)
            logging.info(
                "%s %s, seed %s: %s %.2f %%",
                entrant.preset.name,
                entrant.changes_text,
                seed,
                figure,
                row[figure],
            )
    rows = results.read(file, columns)
    rows = [row for row in rows if row["dataset"] == dataset]
    show(rows, figure, f"{backbone} on {dataset}", file)


def show(rows, figure, title, file):
    """Prints the means of all methods, and draws them beside the file."""
    comparison = experiments.comparison
    entries = comparison.summary(rows, figure)
    what = f"{figure} of the selected epoch"
    if figure == "best_accuracy":
        what = "accuracy after the last epoch"
    title = f"{title}, {what}"
    Console().print(comparison.table(entries, title))
    drawn = comparison.figure_entries(entries)
    for write, suffix in (
        (reports.pareto.write_png, ".png"),
        (reports.pareto.write_html, ".html"),
    ):
        try:
            write(file.with_suffix(suffix), drawn, title)
        except ImportError as error:
            logging.warning(
                "No %s figure: %s (pip install keras-pointpeft[viz])",
                suffix,
                error,
            )


def rate_factors():
    if RATE_FACTORS.value is None:
        return None
    try:
        factors = tuple(float(text) for text in RATE_FACTORS.value)
    except ValueError:
        factors = ()
    if not factors or not all(0 < x < math.inf for x in factors):
        raise app.UsageError(
            "--rate_factors must be positive numbers, such as 0.25,1,4. "
            f"Received: --rate_factors={','.join(RATE_FACTORS.value)}"
        )
    return factors


def state_folder(entrant, seed):
    if STATES.value is None:
        return None
    changes = entrant.changes_text.replace(", ", "_").replace("/", "_")
    words = [entrant.preset.name, changes, f"seed{seed}"]
    return os.path.join(STATES.value, "_".join(filter(None, words)))


def recipe_of(preset, seed):
    augmentation = AUGMENTATION.value
    if augmentation is not None and len(augmentation) == 1:
        (augmentation,) = augmentation
    changes = shared.recipe_changes(FLAGS)
    changes.update(augmentation=augmentation, seed=seed)
    # Both figures are told, of the last epoch and of the chosen one.
    changes.setdefault("selection", "held_out")
    return experiments.runs.recipe_for(preset, **changes)
