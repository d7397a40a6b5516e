"""Writes the report of a run: one page to open in a browser, and PNG files.

    keras-pointpeft report --run=runs/dapt_pointmaetiny_shapes_seed0

Training does the same at the end of a run. The page needs no network:
learning curves, confusion, what trains, features before and after, and clouds
in 3D with what the blocks do. It needs the extra `viz`.
"""

from absl import flags

from keras_pointpeft import reports
from keras_pointpeft.commands import shared

FLAGS = flags.FlagValues()
define = shared.definer(FLAGS)
RUN = define("run", "string", "Folder that training wrote.", required=True)
DATA = define(
    "data", "string", "Folder of the data set's files, if it has moved."
)
OUTPUT = define(
    "output", "string", "Folder to write to, the run's if left out."
)

USAGE = "--run=DIR [flags]"
GROUPS = {"The run": ["run", "data"], "What to write": ["output"]}


def main(_):
    splits = reports.load_splits(reports.read_run(RUN.value), DATA.value)
    path = reports.write_report(RUN.value, *splits, output=OUTPUT.value)
    print(f"Written: {path}")
