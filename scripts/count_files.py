"""Counts the files that a cloud passes from `fit` to the loss.

    python scripts/count_files.py                    # write docs/files.md
    python scripts/count_files.py --check            # exit 1 if it is stale

One training step on torch, of a batch that a `PointCloudDataset` makes of a
procedural split, is traced: counted are the files of `keras_pointpeft` of
which a function is called. What builds and compiles the model comes before.
"""

import os
import sys
import threading
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras  # noqa: E402
from absl import app  # noqa: E402
from absl import flags  # noqa: E402

import keras_pointpeft  # noqa: E402
from keras_pointpeft.data import PointCloudDataset  # noqa: E402
from keras_pointpeft.data import load  # noqa: E402
from keras_pointpeft.peft import PriorBank  # noqa: E402

_CHECK = flags.DEFINE_bool("check", False, "Write nothing; exit 1 if stale.")
PACKAGE = Path(keras_pointpeft.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "files.md"
PRESETS = ("dapt_pointmaetiny_shapes", "pointpeft_pointmaetiny_shapes")


def files_called(function):
    """Files of the package, sorted, of which `function` calls a function."""
    found = set()

    def seen(frame, event, argument):
        if event == "call" and frame.f_code.co_name != "<module>":
            found.add(frame.f_code.co_filename)

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


def files_of_a_step(name):
    """Files that one training step of a preset calls."""
    split = load("shapes", split="train", num_clouds=16)
    model = keras_pointpeft.from_preset(name, load_weights=False)
    if getattr(model.backbone.peft, "prior", False):
        bank = PriorBank.build(model, split.points[:12], verbose=0)
        bank.attach(model)
    model.compile()
    batches = PointCloudDataset(split, batch_size=2)
    return files_called(lambda: model.fit(batches, verbose=0))


def main(_):
    keras.utils.set_random_seed(0)
    for name in PRESETS:
        found = files_of_a_step(name)
        print(name, len(found))
        for file in found:
            print("   ", file)


if __name__ == "__main__":
    app.run(main)
