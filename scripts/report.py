"""Writes the report of a run: one page to open, and PNG files.

`keras-pointpeft report` in a clone: `python scripts/report.py --help`.
"""

from keras_pointpeft.commands import run

if __name__ == "__main__":
    run("report")
