"""Two processes (torch) or devices train as one with the whole batch."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import parallel
from tests.training import parallel_program

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parents[2]
BACKEND = keras.config.backend()


def run(folder, epochs, accumulation=1):
    """Runs the program on two; returns its processes' results."""
    folder.mkdir(exist_ok=True)
    launcher = [sys.executable]
    if BACKEND == "torch":
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        launcher += ["-m", "torch.distributed.run", "--nproc-per-node=2"]
        launcher += [f"--master-port={port}"]
    process = subprocess.run(
        [
            *launcher,
            *("-m", "tests.training.parallel_program"),
            *(str(folder), str(epochs), str(accumulation)),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", "")
            + " --xla_force_host_platform_device_count=2",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    paths = sorted(folder.glob("process*.json"))
    assert len(paths) == (2 if BACKEND == "torch" else 1)
    found = []
    for path in paths:
        with np.load(path.with_suffix(".npz")) as arrays:
            variables = dict(arrays)
        found.append((json.loads(path.read_text()), variables))
    return found


def figures(result):
    return [
        [row[name] for name in ("loss", "val_loss", "accuracy")]
        for row in result["history"]
    ]


def assert_close(found, expected):
    np.testing.assert_allclose(
        figures(found[0]), figures(expected[0]), rtol=1e-4
    )
    assert found[0]["weighted_loss"] == pytest.approx(
        expected[0]["weighted_loss"], rel=1e-5
    )
    for name, value in expected[1].items():
        np.testing.assert_allclose(
            found[1][name], value, atol=1e-4, err_msg=name
        )


@pytest.mark.eager
def test_two_train_as_one(tmp_path):
    # Several devices of tensorflow do not accumulate.
    accumulation = 1 if BACKEND == "tensorflow" else 2
    (tmp_path / "one").mkdir()
    parallel_program.main(tmp_path / "one", 2, accumulation)
    with np.load(tmp_path / "one" / "process0.npz") as arrays:
        variables = dict(arrays)
    text = (tmp_path / "one" / "process0.json").read_text()
    found = run(tmp_path / "two", 2, accumulation)
    assert_close(found[0], (json.loads(text), variables))
    for other in found[1:]:
        assert figures(other[0]) == figures(found[0][0])
    assert (tmp_path / "two" / "log.csv").exists()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="limits of tensorflow")
@pytest.mark.parametrize("name", ["double_step", "gradient_accumulation"])
def test_what_devices_cannot_share_is_refused(name):
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        with pytest.raises(ValueError, match=f"devices.*Received: {name}"):
            parallel.check(Recipe(**{name: 2}))


@pytest.mark.slow
def test_an_interrupted_run_goes_on_exactly(tmp_path):
    straight = run(tmp_path / "straight", 3)
    run(tmp_path / "broken", 2)
    resumed = run(tmp_path / "broken", 3)
    for first, second in zip(straight, resumed, strict=True):
        assert figures(first[0]) == figures(second[0])
        for name, value in first[1].items():
            np.testing.assert_array_equal(value, second[1][name])


@pytest.mark.once
def test_shards_are_parts_of_the_batches():
    points = np.random.default_rng(0).normal(size=(22, 9, 3))

    def dataset(**kwargs):
        return PointCloudDataset(
            points, np.arange(22), batch_size=8, shuffle=True, **kwargs
        )

    whole, parts = dataset(), [dataset(), dataset()]
    for number, part in enumerate(parts):
        part.shard = (number, 2)
    for index in range(3):
        together = np.concatenate([part[index][1] for part in parts])
        assert sorted(together) == sorted(whole[index][1])
    # Each draws its own augmentation and choice of points.
    assert not np.array_equal(parts[0][0][0][0], parts[1][0][0][0])
    again = dataset()
    again.shard = (1, 2)
    np.testing.assert_array_equal(again[2][0], parts[1][2][0])


@pytest.mark.once
@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 3), (0, 16)])
def test_shards_that_do_not_divide_a_batch(shard):
    dataset = PointCloudDataset(np.zeros((16, 4, 3)), batch_size=8)
    with pytest.raises(ValueError, match="divisible.*Received"):
        dataset.shard = shard


@pytest.mark.once
def test_a_last_batch_that_is_too_small_to_share():
    dataset = PointCloudDataset(np.zeros((17, 4, 3)), batch_size=8)
    with pytest.raises(ValueError, match="drop_last.*Received"):
        dataset.shard = (0, 2)
