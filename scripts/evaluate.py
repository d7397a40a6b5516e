"""Measures an adapter, a preset or a preset directory on a test split.

`keras-pointpeft evaluate` in a clone: `python scripts/evaluate.py --help`.
"""

from keras_pointpeft.commands import run

if __name__ == "__main__":
    run("evaluate")
