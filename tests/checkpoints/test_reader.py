import os
import pickle
import zipfile

import numpy as np
import pytest

from keras_pointpeft.checkpoints import CheckpointRefused
from keras_pointpeft.checkpoints import read_checkpoint

pytestmark = pytest.mark.once

torch = pytest.importorskip("torch")


def weights():
    return {
        "norm.weight": torch.arange(4.0),
        "norm.num_batches_tracked": torch.tensor(3),
    }


@pytest.fixture
def save(tmp_path):
    def write(content, **kwargs):
        path = tmp_path / "file.pth"
        torch.save(content, path, **kwargs)
        return path

    return write


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"base_model": state, "epoch": 3},
        lambda state: {"state_dict": state, "metrics": {"acc": 91.5}},
        lambda state: {"model": {"state_dict": state}},
    ],
)
def test_finds_the_weights(save, wrap):
    state = read_checkpoint(save(wrap(weights())))
    assert set(state) == set(weights())
    np.testing.assert_array_equal(state["norm.weight"], np.arange(4.0))
    assert state["norm.num_batches_tracked"].dtype == np.int64


def test_reads_the_legacy_format(save):
    path = save(weights(), _use_new_zipfile_serialization=False)
    assert set(read_checkpoint(path)) == set(weights())


def test_reads_beside_numpy_numbers(save):
    content = {"base_model": weights(), "metrics": {"acc": np.float64(91.5)}}
    assert set(read_checkpoint(save(content))) == set(weights())


def test_takes_off_module(save):
    state = {f"module.{name}": value for name, value in weights().items()}
    state["MAE_encoder.module.x"] = torch.zeros(1)
    names = set(read_checkpoint(save({"base_model": state})))
    assert names == {*weights(), "MAE_encoder.x"}


def test_refuses_two_tensors_of_one_name(save):
    state = {"module.x": torch.zeros(1), "x": torch.zeros(1)}
    with pytest.raises(CheckpointRefused, match="Two tensors are named x"):
        read_checkpoint(save(state))


def test_half_precision_becomes_float32(save):
    state = {"x": torch.ones(3, dtype=torch.bfloat16)}
    assert read_checkpoint(save(state))["x"].dtype == np.float32


class _Program:
    def __init__(self, directory):
        self.directory = directory

    def __reduce__(self):
        return os.mkdir, (self.directory,)


@pytest.mark.parametrize("zipped", [True, False])
def test_runs_nothing(save, tmp_path, zipped):
    mark = str(tmp_path / "ran")
    path = save(
        {"base_model": weights(), "optimizer": _Program(mark)},
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(CheckpointRefused, match="mkdir"):
        read_checkpoint(path)
    assert not os.path.exists(mark)


def test_refuses_a_plain_pickle(tmp_path):
    path = tmp_path / "file.pth"
    path.write_bytes(pickle.dumps({"a": _Program(str(tmp_path / "ran"))}))
    with pytest.raises(CheckpointRefused):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("zipped", [True, False])
def test_refuses_truncated_files(save, share, zipped):
    path = save(weights(), _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointRefused, match="Received: .*file.pth"):
        read_checkpoint(path)


def test_refuses_or_reads_whole_whatever_byte_is_wrong(save):
    state = {f"layer{i}.weight": torch.randn(5, 7) for i in range(6)}
    path = save({"base_model": state})
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        try:
            found = read_checkpoint(path)
        except CheckpointRefused:
            refused += 1
            continue
        assert set(found) == set(state)
        for name, value in state.items():
            np.testing.assert_array_equal(found[name], value.numpy())
    assert refused > 10


def test_refuses_what_is_no_checkpoint(save, tmp_path):
    for content, message in (
        ({"base_model": {"x": torch.zeros(1), "y": 3}}, "'y', a int"),
        ({"epoch": 3}, "the keys"),
        ([torch.zeros(1)], "a list"),
        ({"x": torch.zeros(2, dtype=torch.complex64)}, "complex"),
        ({"x": torch.eye(3).to_sparse()}, "plain tensor"),
    ):
        with pytest.raises(CheckpointRefused, match=message):
            read_checkpoint(save(content))
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "missing.pth")
    text = tmp_path / "text.pth"
    text.write_text("<html>Sign in to download</html>")
    with pytest.raises(CheckpointRefused):
        read_checkpoint(text)


def test_refuses_absurd_sizes(save, tmp_path):
    with pytest.raises(CheckpointRefused, match="max_bytes"):
        read_checkpoint(save({"x": torch.zeros(10_000)}), max_bytes=1000)
    huge = torch.zeros(1).expand(1_000_000, 1_000_000)
    with pytest.raises(CheckpointRefused, match="claims the shape"):
        read_checkpoint(save({"x": huge}))
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(CheckpointRefused, match="max_bytes"):
        read_checkpoint(bomb, max_bytes=1_000_000)
