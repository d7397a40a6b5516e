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

from keras_pointpeft import presets
from keras_pointpeft.commands import shared

FLAGS = flags.FlagValues()
define = shared.definer(FLAGS)
CHECKPOINT = define(
    "checkpoint", "string", "The file to convert.", required=True
)
PRESET = define(
    "preset", "string", "The built-in preset that the file belongs to."
)
OUTPUT = define("output", "string", "The directory to write.", required=True)

USAGE = "--checkpoint=FILE --output=DIR [--preset=PRESET]"
GROUPS = {"What to read and to write": ["checkpoint", "preset", "output"]}


def main(_):
    try:
        model, report = presets.convert(
            CHECKPOINT.value, OUTPUT.value, PRESET.value
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"Not converted. {error}") from error
    print(report)
    print(f"{OUTPUT.value}: a {type(model).__name__}, read back and compared")
