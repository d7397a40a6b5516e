import csv
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from keras import ops

import keras_pointpeft

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]


def command(data, output):
    return [
        sys.executable,
        str(ROOT / "scripts" / "pretrain.py"),
        "--backbone=pointmaetiny",
        f"--data={data}",
        f"--output={output}",
        "--stored_points=96",
        "--num_points=64",
        "--epochs=6",
        "--warmup=1",
        "--batch_size=4",
        "--decoder_depth=1",
        "--drop_path_rate=0.1",
    ]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def losses(output):
    with open(output / "masked" / "log.csv", newline="") as file:
        return [row["loss"] for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(tmp_path):
    data = tmp_path / "clouds" / "blobs"
    data.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(8):
        np.save(data / f"{i}.npy", rng.normal(size=(96, 3)).astype("float32"))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run = command(data.parent, whole)
    subprocess.run(run, check=True, env=environment(), timeout=600)
    assert len(losses(whole)) == 6

    run = command(data.parent, broken)
    process = subprocess.Popen(run, env=environment())
    try:
        deadline = time.time() + 600
        while (
            not (broken / "masked" / "log.csv").exists()
            and time.time() < deadline
        ):
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (broken / "backbone").exists()
    subprocess.run(run, check=True, env=environment(), timeout=600)
    assert losses(broken) == losses(whole)
    first, second = (
        keras_pointpeft.from_preset(str(output / "backbone"))
        for output in (whole, broken)
    )
    for a, b in zip(first.weights, second.weights, strict=True):
        if "seed_generator" not in a.path:
            np.testing.assert_array_equal(
                ops.convert_to_numpy(a), ops.convert_to_numpy(b)
            )


@pytest.mark.slow
def test_endless_programs_and_a_start(tmp_path):
    """Masked, then labelled by program, then on from what that wrote."""
    first, second = tmp_path / "first", tmp_path / "second"
    run = command("programs", first) + [
        "--endless",
        "--num_clouds=64",
        "--num_programs=64",
        "--views=0.5",
        "--batch_size=32",
        "--epochs=1",
        "--warmup=0",
        "--schedule=update",
        "--augmentation=one_sided,rotate",
        f"--half_weights={tmp_path / 'half.weights.h5'}",
        "--labelled_epochs=1",
    ]
    subprocess.run(run, check=True, env=environment(), timeout=600)
    assert (first / "labelled" / "log.csv").is_file()
    assert (tmp_path / "half.weights.h5").is_file()
    run += [
        "--epochs=0",
        f"--start_from={first / 'backbone'}",
        # By updates it would end at the least rate, 1e-6.
        "--schedule=epoch",
        "--learning_rate=0",
        f"--output={second}",
    ]
    subprocess.run(run, check=True, env=environment(), timeout=600)
    assert not (second / "masked").exists()
    made = [
        keras_pointpeft.from_preset(str(output / "backbone"))
        for output in (first, second)
    ]
    for one, other in zip(*(m.trainable_weights for m in made), strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        )
