"""Writes a model as a .pth file that the published code loads.

    python scripts/export_checkpoint.py --preset=dapt_pointmae_scanobjectnn \
        --output=ckpt-best.pth

The names, shapes and order of axes are those of the model's published code.
"""

from absl import app
from absl import flags

PRESET = flags.DEFINE_string(
    "preset", None, "A built-in preset or a preset directory.", required=True
)
OUTPUT = flags.DEFINE_string(
    "output", None, "The file to write.", required=True
)
PRETRAINED = flags.DEFINE_bool(
    "pretrained",
    False,
    "Write the layout of a pre-trained file, to start fine-tuning from.",
)


def main(_):
    import keras_pointpeft
    from keras_pointpeft.checkpoints import write_checkpoint

    model = keras_pointpeft.from_preset(PRESET.value)
    if PRETRAINED.value:
        model = getattr(model, "backbone", model)
    count = write_checkpoint(model, OUTPUT.value, PRETRAINED.value)
    print(f"{OUTPUT.value}: {count} tensors")


if __name__ == "__main__":
    app.run(main)
