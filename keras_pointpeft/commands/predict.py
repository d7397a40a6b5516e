"""Says what new scans are, or what their points belong to.

    keras-pointpeft predict --adapter=runs/my_scans/adapter \\
        --output=found.csv new_scan.ply another.las a_folder

Scans need no labels and no particular place, scale or number of points: the
adapter knows how those of its training were prepared. The table has a line
for each file: its class, the model's confidence, and how many of the passes
chose it.

A segmenter gives each point a label. The points are then written with their
labels into --labelled, in the format they came in:

    keras-pointpeft predict --adapter=runs/my_plots/adapter \\
        --output=found.csv --labelled=found plot.laz
"""

from absl import app
from absl import flags

import keras_pointpeft
from keras_pointpeft.commands import shared

FLAGS = flags.FlagValues()
define = shared.definer(FLAGS)
ADAPTER = define(
    "adapter",
    "string",
    "A directory written by save_adapter, such as RUN/adapter, or a handle "
    "hf://OWNER/NAME.",
)
MODEL_DIR = define(
    "model_dir",
    "string",
    "In place of an adapter, a directory written by save_to_preset.",
)
define(
    "backbone",
    "string",
    "Preset directory of the backbone that the adapter was trained on, if "
    "that is not its preset's.",
)
OUTPUT = define(
    "output", "string", "The CSV file to write; without one, lines are printed."
)
LABELLED = define(
    "labelled", "string", "Folder for points with their labels, of a segmenter."
)
CATEGORY = define(
    "category",
    "string",
    "The category of the clouds whose parts are predicted.",
)
shared.data_flags(FLAGS, ("on_bad",))
shared.recipe_flags(FLAGS, ("votes", "batch_size", "seed"))

USAGE = "--adapter=DIR [--output=FILE.csv] FILE_OR_FOLDER..."
GROUPS = {
    "The model": ["adapter", "model_dir", "backbone"],
    "How": ["votes", "batch_size", "category", "on_bad", "seed"],
    "What to write": ["output", "labelled"],
}


def main(words):
    if (ADAPTER.value is None) == (MODEL_DIR.value is None):
        raise app.UsageError(
            "Either --adapter=DIR or --model_dir=DIR says which model. "
            f"Received: --adapter={ADAPTER.value}, "
            f"--model_dir={MODEL_DIR.value}"
        )
    if len(words) < 2:
        raise app.UsageError(
            "Name the files or folders to predict. Received: none"
        )
    if ADAPTER.value is not None:
        model = keras_pointpeft.from_adapter(ADAPTER.value, FLAGS.backbone)
    else:
        model = keras_pointpeft.from_preset(MODEL_DIR.value)
    found = keras_pointpeft.predict_files(
        model,
        words[1:],
        OUTPUT.value,
        LABELLED.value,
        category=CATEGORY.value,
        on_bad=FLAGS.on_bad or "raise",
        **shared.recipe_changes(FLAGS),
    )
    if OUTPUT.value is None:
        for row in found:
            print(f"{row.path}: {row.name} ({100 * row.confidence:.1f} %)")
        return
    print(f"{len(found)} files. Written: {OUTPUT.value}")
