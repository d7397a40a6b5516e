"""Builds the bank of features that Point-PEFT's prompts draw on.

    python scripts/build_bank.py --preset=pointpeft_pointmae_scanobjectnn \
        --data=/data/ScanObjectNN --output=bank.npz

One pass of the frozen backbone over the training split. Own clouds, in
folders by class or in ScanObjectNN's h5 layout: --dataset=folder or h5.
`keras_pointpeft.peft.PriorBank.load("bank.npz").attach(model)` gives it to a
model; scripts/train.py builds it on its own.
"""

import pathlib

from absl import app
from absl import flags

from keras_pointpeft.commands import shared

PRESET = flags.DEFINE_string(
    "preset", None, "A preset, such as pointpeft_pointmae_scanobjectnn."
)
shared.data_flags(flags.FLAGS)
shared.start_flags(flags.FLAGS)
SPLIT = flags.DEFINE_string("split", "train", "Which split.")
OUTPUT = flags.DEFINE_string("output", None, "The .npz file to write.")
BANK_SIZE = flags.DEFINE_integer(
    "bank_size",
    None,
    "At most so many entries. All by default.",
    lower_bound=1,
)
flags.DEFINE_alias("size", "bank_size")
SAMPLING = flags.DEFINE_enum(
    "sampling",
    "class_balanced",
    ["random", "class_balanced", "k_center"],
    "Which entries to keep.",
)
DTYPE = flags.DEFINE_enum(
    "dtype", "float16", ["float16", "float32"], "Of the entries."
)
NORMALIZE = flags.DEFINE_bool("normalize", True, "Whether entries get norm 1.")
SEED = flags.DEFINE_integer("seed", 0, "Of sampling and random weights.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Clouds in a batch.")
flags.mark_flags_as_required(["preset", "output"])


def main(_):
    from keras_pointpeft import presets
    from keras_pointpeft.experiments import runs

    values = flags.FLAGS
    preset = presets.resolve(PRESET.value)
    shared.need_data(values, preset)
    split = runs.load_split(
        preset,
        SPLIT.value,
        values.data,
        values.dataset,
        values.limit,
        **shared.loader_options(values),
    )
    recipe = runs.recipe_for(preset, seed=SEED.value)
    model = runs.build_model(
        preset, recipe, split.num_classes, values.weights, values.backbone
    )
    bank = runs.build_bank(
        model,
        split,
        recipe,
        source=f"{values.dataset or preset.dataset} {SPLIT.value}",
        normalize=NORMALIZE.value,
        dtype=DTYPE.value,
        batch_size=BATCH_SIZE.value,
    )
    size = BANK_SIZE.value
    if size is not None and size < len(bank):
        bank = bank.sample(size, SAMPLING.value, SEED.value)
    output = pathlib.Path(OUTPUT.value)
    output.parent.mkdir(parents=True, exist_ok=True)
    bank.save(output)
    print(
        f"{len(bank)} entries of width {bank.features.shape[1]}, "
        f"{output.stat().st_size / 1e6:.1f} MB. Written: {output}"
    )


if __name__ == "__main__":
    app.run(main)
