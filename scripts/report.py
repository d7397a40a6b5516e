"""Writes the report of a run: one page to open in a browser, and PNG files.

    python scripts/report.py --run=runs/dapt_pointmaetiny_shapes_seed0

`scripts/train.py` does the same at the end of a run. The page needs no
network: learning curves, confusion, what trains, features before and after,
and clouds in 3D with what the blocks do. It needs the extra `viz`.
"""

from absl import app
from absl import flags

RUN = flags.DEFINE_string(
    "run", None, "Folder that scripts/train.py wrote.", required=True
)
DATA = flags.DEFINE_string(
    "data", None, "Folder of the data set's files, if it has moved."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "Folder to write to. By default the run's."
)


def main(_):
    from keras_pointpeft import reports

    run = reports.read_run(RUN.value)
    splits = reports.load_splits(run, DATA.value)
    path = reports.write_report(RUN.value, *splits, output=OUTPUT.value)
    print(f"Written: {path}")


if __name__ == "__main__":
    app.run(main)
