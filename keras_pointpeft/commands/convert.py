"""Converts a published checkpoint (.pth) to a preset directory.

    keras-pointpeft convert --checkpoint=pretrain.pth \\
        --output=presets/pointmae_shapenet
    model = keras_pointpeft.from_preset("presets/pointmae_shapenet")

What the file is, is told by the names in it; --preset names the built-in
preset that it belongs to where that is not enough, as for files that were
tuned with a method. Nothing in the file is run. The directory is written only
after it has been read back and compared.
"""

from absl import flags

FLAGS = flags.FlagValues()
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "The file to convert.",
    required=True,
    flag_values=FLAGS,
)
PRESET = flags.DEFINE_string(
    "preset",
    None,
    "The built-in preset that the file belongs to.",
    flag_values=FLAGS,
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "The directory to write.",
    required=True,
    flag_values=FLAGS,
)

USAGE = "--checkpoint=FILE --output=DIR [--preset=PRESET]"
GROUPS = {"What to read and to write": ["checkpoint", "preset", "output"]}


def main(_):
    from keras_pointpeft.files.progress import Progress

    with Progress("starting Keras"):
        from keras_pointpeft.presets.conversion import convert

    try:
        with Progress("converting"):
            model, report = convert(
                CHECKPOINT.value, OUTPUT.value, PRESET.value
            )
    except (OSError, ValueError) as error:
        raise SystemExit(f"Not converted. {error}") from error
    print(report)
    print(f"{OUTPUT.value}: a {type(model).__name__}, read back and compared")
