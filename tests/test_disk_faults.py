"""Full disks, read-only caches, and two processes with one cache.

Where the system lets us, on real file systems of a few kilobytes.
"""

import builtins
import errno
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_pointpeft.data import load
from keras_pointpeft.files import downloads
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import PriorBank
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import train
from tests.conftest import small_classifier
from tests.files.test_downloads import BODY
from tests.files.test_downloads import SHA256
from tests.files.test_downloads import server
from tests.training.conftest import _model
from tests.training.conftest import _split

__all__ = ["server"]  # a fixture

pytestmark = pytest.mark.once


def command(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no rights to {' '.join(words[:2])}")


@pytest.fixture
def disk(tmp_path):
    """Makes file systems of so many kilobytes."""
    made = []

    def make(kilobytes):
        folder = tmp_path / f"disk{len(made)}"
        folder.mkdir()
        size = f"size={kilobytes}k"
        command("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder))
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", str(folder)], check=True)


def contents(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def bank(entries):
    rng = np.random.default_rng(0)
    return PriorBank(rng.normal(size=(entries, 64)).astype("float32"), "ab")


def write_bank(folder, large):
    bank(900 if large else 4).save(folder / "bank.npz")


def write_adapter(folder, large):
    model = small_classifier(DAPT(rank=256 if large else 1))
    model.save_adapter(folder / "adapter")


def write_preset(folder, large):
    model = small_classifier(dim=48 if large else 12, num_heads=3)
    model.save_to_preset(folder / "preset")


@pytest.mark.parametrize(
    "write, kilobytes",
    [(write_bank, 120), (write_adapter, 120), (write_preset, 400)],
)
def test_a_full_disk_keeps_what_was_there(disk, write, kilobytes):
    folder = disk(kilobytes)
    write(folder, large=False)
    before = contents(folder)
    assert before
    with pytest.raises(OSError):
        write(folder, large=True)
    assert contents(folder) == before


def test_training_on_a_full_disk_goes_on_elsewhere(disk, tmp_path):
    """The last state that was written whole is one to go on from."""
    recipe = Recipe(epochs=3, batch_size=8, num_points=12, selection="last")
    folder = disk(100)
    filler = folder / "filler"

    class Fill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                with open(filler, "wb", buffering=0) as file:
                    with pytest.raises(OSError):
                        while True:
                            file.write(b"0" * 1024)

    split, test = _split(), _split(seed=1)
    with pytest.raises(OSError):
        train(_model(), split, test, recipe, log_dir=folder, callbacks=[Fill()])
    filler.unlink()
    resumed, straight = _model(), _model()
    result = train(resumed, split, test, recipe, log_dir=folder)
    assert [row["epoch"] for row in result.history] == [0, 1, 2]
    train(straight, split, test, recipe)
    for a, b in zip(resumed.variables, straight.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_download_to_a_full_disk_goes_on(disk, server):
    folder = disk(600)
    path = folder / "b.pth"
    with pytest.raises(downloads.DownloadError, match="No space left"):
        downloads.fetch(f"{server.url}/b.pth", path, SHA256)
    assert not path.exists()
    command("mount", "-o", "remount,size=4m", str(folder))
    downloads.fetch(f"{server.url}/b.pth", path, SHA256)
    assert path.read_bytes() == BODY
    assert server.seen[-1][1].startswith("bytes=")  # it went on


def test_a_read_only_cache(disk, server):
    folder = disk(4096)
    path = folder / "b.pth"
    downloads.fetch(f"{server.url}/b.pth", path, SHA256)
    (folder / "b.pth.lock").unlink(missing_ok=True)
    command("mount", "-o", "remount,ro", str(folder))
    # What is there is used; what is not cannot be fetched.
    assert downloads.fetch(f"{server.url}/b.pth", path, SHA256) == path
    with pytest.raises(downloads.DownloadError, match="Set KERAS_HOME"):
        downloads.fetch(f"{server.url}/c.pth", folder / "c.pth")


def test_a_folder_without_permission(tmp_path, monkeypatch):
    """As root, permissions stop nobody: `open` itself refuses here."""
    real = builtins.open

    def refuse(file, mode="r", *args, **kwargs):
        if "w" in mode and str(file).startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return real(file, mode, *args, **kwargs)

    source = tmp_path / "source.pth"
    source.write_bytes(BODY)
    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(downloads.DownloadError, match="Permission denied"):
        downloads.fetch(source.as_uri(), tmp_path / "b.pth")
    assert not (tmp_path / "b.pth").exists()


FETCH = """
import pathlib, sys
from keras_pointpeft.files import downloads

url, path, sha256 = sys.argv[1:]
print(len(downloads.fetch(url, path, sha256).read_bytes()))
"""

MAKE = """
import hashlib
from keras_pointpeft import data

made = data.load("shapes", num_clouds=40, num_points=256, cache=True)
print(hashlib.sha256(made.points.tobytes()).hexdigest())
"""


def at_once(count, *arguments, **environment):
    root = pathlib.Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), **environment}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    outputs = [process.communicate()[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * count
    return outputs


def test_two_processes_download_once(server, tmp_path):
    path = tmp_path / "cache" / "b.pth"
    url = f"{server.url}/b.pth"
    outputs = at_once(2, FETCH, url, str(path), SHA256)
    assert outputs == [str(len(BODY))] * 2
    assert len(server.seen) == 1
    assert path.read_bytes() == BODY


def test_two_processes_fill_the_cache_of_shapes(tmp_path):
    outputs = at_once(2, MAKE, KERAS_HOME=str(tmp_path))
    assert len(set(outputs)) == 1
    (folder,) = (tmp_path / "keras_pointpeft").iterdir()
    made = load("shapes", num_clouds=40, num_points=256)
    stored = np.load(folder / "points.npy")
    np.testing.assert_array_equal(stored, made.points)
