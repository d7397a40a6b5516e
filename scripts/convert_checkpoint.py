"""Converts a published checkpoint (.pth) to a preset directory.

`keras-pointpeft convert` in a clone; see
`python scripts/convert_checkpoint.py --help`.
"""

from keras_pointpeft.commands import run

if __name__ == "__main__":
    run("convert")
