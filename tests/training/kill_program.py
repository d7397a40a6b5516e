"""Trains in processes that are killed, until one is let finish.

    python kill_program.py FOLDER KILLS

The processes are forks of one that has imported everything, so that most of
their time is training. Prints a line per kill and, at last, whether the bits
are those of a run that was not killed.
"""

import csv
import os
import pathlib
import random
import signal
import sys
import time

import keras
import numpy as np

from keras_pointpeft.data import Split
from keras_pointpeft.peft import DAPT
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import train
from tests.conftest import small_classifier

FOLDER, KILLS = pathlib.Path(sys.argv[1]), int(sys.argv[2])
EPOCHS = 5 * KILLS + 4


def split(seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(24) % 3
    points = rng.normal(size=(24, 48, 3))
    points[np.arange(24), :, labels] *= 3
    return Split(points, labels, ("x", "y", "z"), name="blobs")


def run(folder):
    """One life of the run; as long as it lasts."""
    keras.utils.set_random_seed(5)
    peft = DAPT(rank=2, dropout=0.1, frozen_bn="track")
    model = small_classifier(peft, depth=1, num_groups=4)
    recipe = Recipe(
        epochs=EPOCHS,
        batch_size=8,
        learning_rate=1e-2,
        warmup_epochs=1,
        num_points=32,
        held_out_fraction=0.25,
        augmentation="scale_translate",
        seed=5,
    )
    train(model, split(0), split(1), recipe, log_dir=folder)
    arrays = {v.path: v.numpy() for v in model.variables}
    np.savez(folder / "end.npz", **arrays)


def life(folder, epochs=None, seconds=0.0):
    """Whether a process reached the end.

    If `epochs` is given, it is killed after so many more, and then `seconds`
    or two further epochs, whichever is shorter.
    """
    child = os.fork()
    if child == 0:
        try:
            with open(FOLDER / "output.txt", "a") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                run(folder)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    if epochs is not None:
        wanted = epochs_done(folder) + epochs
        while epochs_done(folder) < wanted and alive(child):
            time.sleep(0.01)
        end = time.time() + seconds
        while time.time() < end and epochs_done(folder) < wanted + 2:
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if status:
        raise SystemExit((FOLDER / "output.txt").read_text())
    return True


def alive(child):
    """Whether a process has not ended yet; its status stays to be read."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, child, flags) is None


def epochs_done(folder):
    return len(logged(folder)) if (folder / "log.csv").exists() else 0


def logged(folder):
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def main():
    # What is slow and done once: imports, among them TensorFlow's if it is
    # there, for its seed.
    keras.utils.set_random_seed(5)
    small_classifier().predict(split(0).points, verbose=0)
    straight, killed = FOLDER / "straight", FOLDER / "killed"
    straight.mkdir()
    killed.mkdir()
    start = time.time()
    assert life(straight)
    took = time.time() - start
    epoch = sum(float(row["seconds"]) for row in logged(straight)) / EPOCHS
    beginning = took - epoch * EPOCHS
    dice = random.Random(KILLS)
    for _ in range(KILLS):
        epochs, seconds = dice.randrange(3), dice.uniform(0, 2 * epoch)
        if epochs == 0:  # before its first epoch, perhaps
            seconds += dice.uniform(0, beginning)
        assert not life(killed, epochs, seconds), "it ended too soon"
        done = epochs_done(killed)
        print(f"killed {seconds:.2f} s after {epochs} epochs, at {done}")
    assert life(killed)
    with (
        np.load(straight / "end.npz") as expected,
        np.load(killed / "end.npz") as found,
    ):
        assert expected.files == found.files
        differ = [n for n in found if not np.array_equal(expected[n], found[n])]
    epochs = [int(row["epoch"]) for row in logged(killed)]
    left = sorted(path.name for path in killed.iterdir())
    print(f"a life of {EPOCHS} epochs takes {took:.2f} s")
    print(f"variables {len(expected.files)} differ {differ}")
    print(f"epochs logged {epochs == list(range(EPOCHS))} files {left}")


if __name__ == "__main__":
    main()
