"""Compares methods: the same start, splits and budget for all of them.

`keras-pointpeft compare` in a clone: `python scripts/compare.py --help`.
"""

from keras_pointpeft.commands import run

if __name__ == "__main__":
    run("compare")
