"""Faults of files, injected and counted; prints a table with `-s`.

Whatever is done to a file: it is refused, and the model, or what stood there
before, is as it was; or it is read whole. See also `test_preset_faults.py`,
`test_downloads.py`, `checkpoints/test_fuzz.py`, `data/test_archives.py` and
`training/test_checkpoint.py`.
"""

import builtins
import zipfile

import h5py
import numpy as np
import pytest

from keras_pointpeft.adapters.card import WEIGHTS_FILE
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import PriorBank
from tests.conftest import small_classifier
from tests.faults import inject
from tests.faults import report

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", ["adapter.json", WEIGHTS_FILE])
def test_adapters(tmp_path, name):
    model = small_classifier(DAPT(rank=4))
    model.save_adapter(tmp_path)
    before = [np.array(ops_value(v)) for v in model.variables]

    def unchanged():
        for variable, value in zip(model.variables, before):
            np.testing.assert_array_equal(ops_value(variable), value)

    def load():
        for variable, value in zip(model.variables, before):
            variable.assign(value)
        model.load_adapter(tmp_path)
        unchanged()  # what is read is what was saved

    report(name, inject(tmp_path / name, load, unchanged))


def ops_value(variable):
    from keras.ops import convert_to_numpy

    return convert_to_numpy(variable)


def bank(entries=4):
    rng = np.random.default_rng(0)
    return PriorBank(rng.normal(size=(entries, 8)).astype("float32"), "ab")


def test_banks(tmp_path):
    path = tmp_path / "bank.npz"
    bank().save(path)
    table = inject(path, lambda: PriorBank.load(path), lambda: None)
    report("bank.npz", table)
    # A zip file knows the sums of what it holds.
    with pytest.raises(FileNotFoundError):
        PriorBank.load(tmp_path / "none.npz")


def test_a_bank_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "bank.npz"
    np.savez_compressed(
        path, about="{}", features=np.zeros((2000, 2000), "float32")
    )
    with pytest.raises(ValueError, match="compressed"):
        PriorBank.load(path)
    # A header that promises more than there is.
    bank().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    small, large = b"(4, 8), }", b"(4000000000000, 8), }"
    old = members["features.npy"]
    room = b" " * (len(large) - len(small))
    header = old.replace(small + room, large)
    assert len(header) == len(old) and header != old
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, "features.npy": header}.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="damaged"):
        PriorBank.load(path)


def test_an_adapter_that_would_fill_the_memory_is_refused(tmp_path):
    model = small_classifier(DAPT(rank=4))
    model.save_adapter(tmp_path)
    with h5py.File(tmp_path / WEIGHTS_FILE, "a") as file:
        name = "class_tokens/token"
        del file[name]
        # A terabyte that takes no room: chunks that were never written.
        file.create_dataset(
            name, (2**38,), "float32", chunks=(2**20,), compression="gzip"
        )
    with pytest.raises(ValueError, match=f"shape of {name}"):
        model.load_adapter(tmp_path)


def test_a_full_disk_keeps_the_old_bank(tmp_path, monkeypatch):
    path = tmp_path / "bank.npz"
    bank().save(path)
    old = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        bank(5).save(path)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["bank.npz"]


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    """As root, permissions stop nobody: `open` itself refuses here."""
    real = builtins.open

    def refuse(file, mode="r", *args, **kwargs):
        if "w" in mode and str(file).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(PermissionError, match="bank.npz"):
        bank().save(tmp_path / "bank.npz")
    assert list(tmp_path.iterdir()) == []
