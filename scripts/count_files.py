"""Counts the files that a cloud passes from `fit` to the loss.

    python scripts/count_files.py            # write CONTRIBUTING.md
    python scripts/count_files.py --check    # exit 1 if it is out of date

One training step on torch is traced, with the batch that a
`PointCloudDataset` makes for it: counted are the files of `keras_pointpeft` of
which a function is called. What builds and compiles the model comes before.
The files are written between two marks.
"""

import os
import re
import sys
import threading
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

from absl import app  # noqa: E402
from absl import flags  # noqa: E402

import keras_pointpeft  # noqa: E402
from keras_pointpeft.data import PointCloudDataset  # noqa: E402
from keras_pointpeft.data import load  # noqa: E402
from keras_pointpeft.peft import PriorBank  # noqa: E402

_CHECK = flags.DEFINE_bool("check", False, "Write nothing; exit 1 if stale.")
PACKAGE = Path(keras_pointpeft.__file__).parent
PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
MARKS = re.compile(r"(<!-- files -->\n).*?(<!-- /files -->)", re.DOTALL)
PRESETS = {
    "DAPT": "dapt_pointmaetiny_shapes",
    "Point-PEFT": "pointpeft_pointmaetiny_shapes",
}


def files_called(function):
    """Files of the package, sorted, of which `function` calls a function."""
    found = set()

    def seen(frame, event, argument):
        code = frame.f_code
        # The body of a class, which runs at an import, is no call.
        if event == "call" and "__qualname__" not in code.co_names:
            if code.co_name != "<module>":
                found.add(code.co_filename)

    sys.setprofile(seen)
    threading.setprofile(seen)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    paths = (Path(name) for name in found)
    return sorted(
        path.relative_to(PACKAGE).as_posix()
        for path in paths
        if path.is_relative_to(PACKAGE)
    )


def files_of_a_step(preset):
    """Files that one training step of a preset calls."""
    split = load("shapes", split="train", num_clouds=16)
    model = keras_pointpeft.from_preset(preset, load_weights=False)
    if getattr(model.backbone.peft, "prior", False):
        bank = PriorBank.build(model, split.points, verbose=0)
        bank.attach(model)
    model.compile()
    batches = PointCloudDataset(split, batch_size=16)
    return files_called(lambda: model.fit(batches, verbose=0))


def table(files):
    """Rows of a room each: how many files it has for each method, and which.

    Args:
        files: dict from method to list of paths.
    """
    every = sorted(set().union(*files.values()))
    folders = dict.fromkeys(name.rpartition("/")[0] for name in every)
    lines = [
        f"| folder | {' | '.join(files)} | files |",
        "| --- |" + " --- |" * (len(files) + 1),
    ]
    for folder in folders:
        own = [name for name in every if name.rpartition("/")[0] == folder]
        counts = [sum(n in found for n in own) for found in files.values()]
        stems = ", ".join(Path(name).stem for name in own)
        cells = [folder, *map(str, counts), stems]
        lines.append(f"| {' | '.join(cells)} |")
    totals = [str(len(found)) for found in files.values()]
    lines.append(f"| all | {' | '.join(totals)} | |")
    return "\n".join(lines) + "\n"


def main(_):
    files = {name: files_of_a_step(p) for name, p in PRESETS.items()}
    print({name: len(found) for name, found in files.items()})
    text = PAGE.read_text(encoding="utf-8")
    fresh = MARKS.sub(rf"\g<1>{table(files)}\g<2>", text)
    if _CHECK.value:
        sys.exit(0 if fresh == text else 1)
    PAGE.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
