"""Writes the report of a run: one page to open in a browser, and PNG files.

    keras-pointpeft report --run=runs/dapt_pointmaetiny_shapes_seed0

Training does the same at the end of a run. The page needs no network:
learning curves, confusion, what trains, features before and after, and clouds
in 3D with what the blocks do. It needs the extra `viz`.
"""

from absl import flags

FLAGS = flags.FlagValues()
RUN = flags.DEFINE_string(
    "run",
    None,
    "Folder that training wrote.",
    required=True,
    flag_values=FLAGS,
)
DATA = flags.DEFINE_string(
    "data",
    None,
    "Folder of the data set's files, if it has moved.",
    flag_values=FLAGS,
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder to write to, the run's if left out.",
    flag_values=FLAGS,
)

USAGE = "--run=DIR [flags]"
GROUPS = {"The run": ["run", "data"], "What to write": ["output"]}


def main(_):
    from keras_pointpeft.files.progress import Progress

    with Progress("starting Keras"):
        from keras_pointpeft import reports

    run = reports.read_run(RUN.value)
    with Progress("reading the run's clouds"):
        splits = reports.load_splits(run, DATA.value)
    with Progress("writing the report"):
        path = reports.write_report(RUN.value, *splits, output=OUTPUT.value)
    print(f"Written: {path}")
