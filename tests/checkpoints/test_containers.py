"""Every container that people keep weights in, whole and mutated."""

import argparse
import json
import os
import pathlib
import shutil
import types

import numpy as np
import pytest

from keras_pointpeft import checkpoints
from keras_pointpeft.checkpoints import CheckpointMismatch
from keras_pointpeft.checkpoints import CheckpointRefused
from keras_pointpeft.checkpoints import read_checkpoint
from keras_pointpeft.checkpoints.reader import read_array

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
ROUNDS = 200
pytestmark = pytest.mark.once


def weights():
    """A small state dict with names of Point-MAE's pre-training."""
    rng = np.random.default_rng(0)
    names = (
        "MAE_encoder.norm.weight",
        "MAE_encoder.norm.bias",
        "MAE_encoder.blocks.blocks.0.mlp.fc1.weight",
        "mask_token",
    )
    return {
        name: torch.as_tensor(rng.normal(size=(3, 4)).astype("float32"))
        for name in names
    }


def settings():
    return argparse.Namespace(
        lr=5e-4,
        output=pathlib.Path("runs/x"),
        steps=[1, 2],
        inner=argparse.Namespace(name="x"),
    )


def save_torch(content):
    def write(folder):
        torch.save(content, folder / "file.pth")
        return folder / "file.pth"

    return write


def prefixed(prefix, state=None):
    return {prefix + k: v for k, v in (state or weights()).items()}


def save_safetensors(folder):
    safetensors.save_file(weights(), folder / "file.safetensors")
    return folder / "file.safetensors"


def sharded(save, suffix):
    def write(folder):
        state = weights()
        names = list(state)
        files = {}
        for i in (0, 1):
            part = {n: state[n] for n in names[2 * i : 2 * i + 2]}
            file = f"model-0000{i + 1}-of-00002.{suffix}"
            save(part, folder / file)
            files |= dict.fromkeys(part, file)
        index = folder / f"model.{suffix}.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": files}))
        return index

    return write


OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []}
CONTAINERS = {
    "base_model": save_torch({"base_model": weights(), "epoch": 3}),
    "model beside optimizer": save_torch(
        {"model": weights(), "optimizer": OPTIMIZER, "args": settings()}
    ),
    "state_dict": save_torch({"state_dict": prefixed("model.")}),
    "ema": save_torch({"ema": weights(), "decay": 0.999}),
    "encoder": save_torch({"encoder": prefixed("module.")}),
    "namespace": save_torch(
        {"model": weights(), "opt": types.SimpleNamespace(a=1)}
    ),
    "compiled": save_torch({"model": prefixed("_orig_mod.")}),
    "parallel": save_torch({"model": prefixed("module._orig_mod.")}),
    "random state": save_torch(
        {"model": weights(), "rng": np.random.get_state()}
    ),
    "safetensors": save_safetensors,
    "sharded safetensors": sharded(safetensors.save_file, "safetensors"),
    "sharded bin": sharded(torch.save, "bin"),
}


def read(path):
    """What is read, by the published names."""
    return checkpoints.identify(read_checkpoint(path))[1]


@pytest.mark.parametrize("name", CONTAINERS)
def test_reads(name, tmp_path):
    state = read(CONTAINERS[name](tmp_path))
    expected = weights()
    assert set(state) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(state[key], value.numpy())


def flipped(content, rng):
    content = bytearray(content)
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    return bytes(content)


def cut(content, rng):
    return content[: int(rng.integers(len(content)))]


def doubled(content, rng):
    start, end = sorted(rng.integers(len(content), size=2))
    return content[:end] + content[start:]


def zeroed(content, rng):
    start, end = sorted(rng.integers(len(content), size=2))
    return content[:start] + bytes(end - start) + content[end:]


MUTATIONS = (flipped, flipped, cut, doubled, zeroed)


@pytest.mark.parametrize("name", CONTAINERS)
def test_mutated_files_are_refused_or_read_whole(name, tmp_path):
    """A changed byte of a number may be read, where nothing guards it."""
    original = tmp_path / "original"
    original.mkdir()
    path = CONTAINERS[name](original)
    files = sorted(original.iterdir())
    expected = weights()
    rng = np.random.default_rng(sum(map(ord, name)))
    refused = 0
    for _ in range(ROUNDS):
        folder = tmp_path / "mutated"
        shutil.copytree(original, folder, dirs_exist_ok=True)
        file = folder / files[rng.integers(len(files))].name
        mutate = MUTATIONS[rng.integers(len(MUTATIONS))]
        file.write_bytes(mutate(file.read_bytes(), rng))
        try:
            state = read(folder / path.name)
        except (CheckpointRefused, CheckpointMismatch, FileNotFoundError) as e:
            assert "Received:" in str(e)
            refused += 1
            continue
        # Whole: all tensors under some name, of their number of elements.
        assert len(state) == len(expected)
        for value in state.values():
            assert value.size == 12
    assert refused > ROUNDS // 4


def test_what_is_not_there_is_named(tmp_path):
    content = {"model": weights(), "ema": {"a": torch.zeros(1)}, "epoch": 3}
    path = save_torch(content)(tmp_path)
    assert set(read_checkpoint(path, container="ema")) == {"a"}
    with pytest.raises(CheckpointRefused, match="'teacher'.*'ema', 'epoch'"):
        read_checkpoint(path, container="teacher")
    with pytest.raises(CheckpointRefused, match="no weights at 'epoch'"):
        read_checkpoint(path, container="epoch")
    nested = save_torch({"state": {"model": weights()}})(tmp_path)
    assert len(read_checkpoint(nested, container="state.model")) == 4


class _Program:
    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("place", ["args", "inside"])
def test_code_beside_the_weights_is_refused(tmp_path, place):
    program = _Program(tmp_path / "ran")
    args = program if place == "args" else argparse.Namespace(x=program)
    path = save_torch({"model": weights(), "args": args})(tmp_path)
    with pytest.raises(CheckpointRefused, match="mkdir"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_a_pickled_model_names_the_way_on(tmp_path):
    path = save_torch(torch.nn.Linear(2, 2))(tmp_path)
    with pytest.raises(CheckpointRefused, match="model.state_dict"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_precisions(tmp_path, kind):
    state = {k: v.to(getattr(torch, kind)) for k, v in weights().items()}
    torch.save(state, tmp_path / "file.pth")
    safetensors.save_file(state, tmp_path / "file.safetensors")
    for name in ("file.pth", "file.safetensors"):
        found = read_checkpoint(tmp_path / name)
        for key, value in state.items():
            assert found[key].dtype == np.float32
            np.testing.assert_array_equal(found[key], value.float().numpy())


def test_shards(tmp_path):
    index = CONTAINERS["sharded safetensors"](tmp_path)
    assert set(read_checkpoint(tmp_path)) == set(weights())  # the folder
    shard = tmp_path / "model-00002-of-00002.safetensors"
    with pytest.raises(CheckpointRefused, match="one of 00002 files"):
        read_checkpoint(shard)
    shard.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="lacks a shard.*00002-of"):
        read_checkpoint(index)
    content = json.loads(index.read_text())
    content["weight_map"] = dict.fromkeys(content["weight_map"], "../x")
    index.write_text(json.dumps(content))
    with pytest.raises(CheckpointRefused, match="lies elsewhere"):
        read_checkpoint(index)


def test_arrays(tmp_path):
    expected = np.arange(6.0, dtype="float32").reshape(2, 3)
    np.save(tmp_path / "bank.npy", expected)
    torch.save(torch.as_tensor(expected), tmp_path / "bank.pt")
    for name in ("bank.npy", "bank.pt"):
        np.testing.assert_array_equal(read_array(tmp_path / name), expected)
    with pytest.raises(CheckpointRefused):
        torch.save({"a": 3}, tmp_path / "other.pt")
        read_array(tmp_path / "other.pt")
