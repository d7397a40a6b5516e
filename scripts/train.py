"""Fine-tunes a preset and measures it on the test split.

`keras-pointpeft train` in a clone: `python scripts/train.py --help`.
"""

from keras_pointpeft.commands import run

if __name__ == "__main__":
    run("train")
