"""Flags that several verbs and scripts have in common, with one meaning."""

import pathlib
import sys

from absl import app
from absl import flags

from keras_pointpeft import data

# What is defined here belongs to the verb or script that asks for it.
flags.disclaim_key_flags()

# Arguments of `training.Recipe` that flags of the same name set.
RECIPE = (
    "epochs",
    "updates",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "gradient_accumulation",
    "augmentation",
    "sampling",
    "num_points",
    "selection",
    "votes",
    "class_weights",
    "balanced_sampling",
    "double_step",
    "column_size",
    "seed",
    "dtype",
    "remat",
    "schedule",
)
# Arguments of loaders of data sets that flags of the same name set.
LOADER = (
    "test_area",
    "on_bad",
    "up_axis",
    "bin_columns",
    "class_names",
    "channels",
)
# How clouds that a model learns from are read, in the order of `--help`.
CLOUDS = (
    "channels",
    "num_points",
    "up_axis",
    "bin_columns",
    "on_bad",
    "limit",
)


def definer(values):
    """A function that defines flags in `absl.flags.FlagValues`.

    It takes a name, the kind (`"string"`, `"enum"` ...), the help, of an enum
    its choices, and what else `flags.DEFINE_string` and the like take. None is
    the default of a flag if it is told no other.
    """

    def define(name, kind, text, *choices, default=None, **keywords):
        make = getattr(flags, f"DEFINE_{kind}")
        return make(
            name, default, *choices, text, flag_values=values, **keywords
        )

    return define


def _some_of(values, names):
    """A `definer` that leaves flags out whose names are not among these."""

    def define(name, *arguments, **keywords):
        if name in names:
            definer(values)(name, *arguments, **keywords)

    return define


def data_flags(values, names=("data", "dataset", "limit", *LOADER)):
    """Which data, and how they are read."""
    define = _some_of(values, names)
    define("data", "string", "Folder of the data set's files.")
    define(
        "dataset",
        "string",
        "Another data set than the preset's; own clouds: 'folder' (a folder "
        "for each class in train/ and test/) or 'h5'.",
    )
    define(
        "up_axis",
        "enum",
        "The axis that points up in own files of a folder; clouds are turned "
        "so that it is y, as in the sets of the pre-training. In scenes of "
        "the layout of S3DIS likewise, so that it is z.",
        ["x", "y", "z"],
    )
    define(
        "bin_columns",
        "integer",
        "How many float32 each point of a .bin file in a folder has: 4 as "
        "KITTI's, 5 as nuScenes'.",
        lower_bound=3,
    )
    define("test_area", "string", "Area of a scene data set to test on.")
    define(
        "on_bad",
        "enum",
        "Whether clouds that cannot be used stop everything, or are left out "
        "with a warning that names them.",
        ["raise", "skip"],
    )
    define(
        "limit",
        "integer",
        "At most so many clouds of each split.",
        lower_bound=1,
    )


def channels_flag(values):
    """What a model learns from beside the places of points."""
    definer(values)(
        "channels",
        "list",
        "What the points of own files have beside their place and the model "
        "is to learn from: colors, normals, intensity, or several of them.",
    )


def recipe_flags(values, names=RECIPE):
    """How a model is trained; what is left out is the preset's."""
    define = _some_of(values, names)
    define("epochs", "integer", "Epochs.", lower_bound=1)
    define(
        "updates",
        "integer",
        "Steps of the optimizer, in place of --epochs. A few hundred at "
        "least; small sets have 400 by default.",
        lower_bound=1,
    )
    define("batch_size", "integer", "Clouds in a batch.")
    define("learning_rate", "float", "Peak rate.")
    define("weight_decay", "float", "Of matrices.")
    define("gradient_accumulation", "integer", "Batches that make one update.")
    define(
        "augmentation",
        "string",
        "none, scale_translate, rotate, scale_rotate ...",
    )
    define("sampling", "string", "How points are chosen in training.")
    define("num_points", "integer", "Points of a cloud.")
    define(
        "selection",
        "enum",
        "Which epoch is kept. 'auto' goes by a held-out part of the training "
        "split if that has a hundred clouds, and else takes the last; "
        "'best_on_test' is what most papers report.",
        ["auto", "held_out", "last", "best_on_test"],
    )
    define(
        "votes",
        "integer",
        "Augmented passes averaged in the final evaluation.",
        lower_bound=1,
    )
    define(
        "class_weights",
        "enum",
        "'balanced': rarer classes weigh more in the loss.",
        ["none", "balanced"],
    )
    define(
        "balanced_sampling",
        "bool",
        "Every class is seen equally often, rarer ones repeatedly.",
    )
    define(
        "double_step",
        "bool",
        "Two steps per batch, the first without clipping, as published "
        "segmentation does.",
    )
    define(
        "column_size",
        "float",
        "Width in metres of the columns of a scene.",
    )
    define("seed", "integer", "Seed of everything.")
    define(
        "dtype",
        "enum",
        "The model's dtype policy; tf32 is float32 whose products a GPU "
        "computes in TF32.",
        ["float32", "tf32", "mixed_bfloat16", "mixed_float16"],
    )
    if "dtype" in names:
        # What it was called at first.
        flags.DEFINE_alias("precision", "dtype", flag_values=values)
    define(
        "remat",
        "enum",
        "What backward computes again instead of keeping it.",
        ["none", "elementwise", "block"],
    )
    define(
        "schedule",
        "enum",
        "When the learning rate moves: from one epoch to the next, as "
        "published, or at every update. 'auto' is by update in runs of fewer "
        "than 15 epochs.",
        ["auto", "epoch", "update"],
    )


def recipe_changes(values):
    """What recipe flags were given, as arguments of `Recipe`."""
    given = {}
    for name in RECIPE:
        if name in values and values[name].value is not None:
            given[name] = values[name].value
    if given.get("class_weights") == "none":
        del given["class_weights"]
    return given


def start_flags(values):
    """What training starts from."""
    define = definer(values)
    define(
        "weights",
        "enum",
        "What to start from: the preset's pre-trained backbone, or nothing.",
        ["backbone", "random"],
        default="backbone",
    )
    define(
        "backbone", "string", "Preset directory of a backbone to start from."
    )


def loader_options(values, points=None, dataset=None):
    """Arguments of the data set's loader that flags have given."""
    options = {name: values[name].value for name in LOADER if name in values}
    if (dataset or values["dataset"].value) == "folder":
        options["num_points"] = points
    return {k: v for k, v in options.items() if v is not None}


def need_data(values, preset, dataset=None):
    """The data set's name; a UsageError where its `--data` is missing."""
    name = dataset or values["dataset"].value or (preset and preset.loader)
    if name is None:
        raise app.UsageError(
            "--dataset=NAME is missing: a directory does not name its data "
            "set, nor does a backbone. Received: no --dataset"
        )
    if values["data"].value is None and name not in data.PROCEDURAL:
        known = preset.dataset if preset is not None else name
        raise app.UsageError(
            f"--data=DIR is missing: the folder of {known}. Received: no --data"
        )
    return name


def command_line():
    """What the process was started with, for reports and adapters."""
    program = pathlib.Path(sys.argv[0])
    return " ".join([program.name, *sys.argv[1:]])
