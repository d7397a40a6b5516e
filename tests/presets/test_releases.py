"""Built-in presets whose weights are a published `.pth`, end to end."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft.files import downloads
from keras_pointpeft.presets import cards
from keras_pointpeft.verification import weights

pytestmark = pytest.mark.once

torch = pytest.importorskip("torch")
GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {
    "pointmaetest_dust": "pointmae_pretrain_tiny",
    "full_pointmaetest_dust": "pointmae_finetune_tiny",
    "dapt_pointmaetest_dust": "dapt_pointmae_tiny",
}


def manifest_of(case):
    return json.loads((GOLDEN / case / "manifest.json").read_text())


def state_of(case):
    """The published state dict of a recorded case."""
    manifest = manifest_of(case)
    state = weights.fill_all(manifest["state_dict"], manifest["salt"])
    return {name: torch.as_tensor(value) for name, value in state.items()}


def write_release(path, state, **others):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"base_model": state, "epoch": 299, **others}, path)


@pytest.fixture
def releases(tmp_path, monkeypatch):
    """A zoo of the recorded cases, its releases in a local folder."""
    zoo = tmp_path / "zoo"
    for kind in cards.KINDS:
        (zoo / kind).mkdir(parents=True)

    def write(path, card):
        (zoo / path).write_text(json.dumps(card))

    trunk = {
        "title": "test",
        "class": "PointMAEBackbone",
        "pretrained_on": "dust",
        "tier": "test",
        "tasks": ["classification"],
        "config": {
            "num_groups": 32,
            "group_size": 16,
            "dim": 96,
            "depth": 3,
            "num_heads": 6,
            "skip_origin": True,
        },
    }
    write("backbones/pointmaetest.json", trunk)
    for name in ("dapt", "full", "linear"):
        card = cards.read_cards("methods")[name]
        rank = {"rank": 16} if name == "dapt" else {}
        write(f"methods/{name}.json", {**card, "config": rank})
    data = cards.read_cards("datasets")["scanobjectnn"]
    write("datasets/dust.json", {**data, "tier": "test", "num_points": 512})
    host, folder = "https://github.com", tmp_path / "releases"
    entries = {
        name: {"url": f"{host}/owner/{case}.pth", "format": "pth"}
        for name, case in CASES.items()
    }
    write("weights.json", entries)
    monkeypatch.setattr(cards, "zoo_directory", lambda: zoo)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(downloads.MIRROR_VARIABLE, folder.as_uri())
    return folder / "owner"


def cached(case):
    return downloads.cache_directory() / "owner" / f"{case}.pth"


def values(model):
    return {
        v.path: keras.ops.convert_to_numpy(v)
        for v in model.weights
        if "seed_generator" not in v.path
    }


@pytest.mark.parametrize("method", ["dapt", "full"])
def test_tuned_release_gives_the_recorded_logits(releases, method):
    case = CASES[f"{method}_pointmaetest_dust"]
    write_release(releases / f"{case}.pth", state_of(case), metrics={})
    model = keras_pointpeft.from_preset(f"{method}_pointmaetest_dust")
    with np.load(GOLDEN / case / "data.npz") as data:
        logits = model.predict(data["points"], verbose=0)
        np.testing.assert_allclose(logits, data["logits"], 2e-5, 2e-5)
    assert cached(case).exists()
    (releases / f"{case}.pth").unlink()
    keras_pointpeft.from_preset(f"{method}_pointmaetest_dust")  # the cache


@pytest.mark.parametrize("prefix", ["", "module."])
def test_pretrained_release_fills_the_backbone(releases, prefix):
    case = "pointmae_pretrain_tiny"
    state = state_of(case)
    named = {prefix + name: value for name, value in state.items()}
    write_release(releases / f"{case}.pth", named)
    backbone = keras_pointpeft.from_preset("pointmaetest_dust")
    loaded = values(backbone)
    np.testing.assert_array_equal(
        loaded["block_2/fc1/kernel"],
        state["MAE_encoder.blocks.blocks.2.mlp.fc1.weight"].numpy().T,
    )
    np.testing.assert_array_equal(
        loaded["patch_encoder/norm1/moving_variance"],
        state["MAE_encoder.encoder.first_conv.1.running_var"].numpy(),
    )
    # The same backbone under a method that has no release of its own.
    model = keras_pointpeft.from_preset("linear_pointmaetest_dust")
    tuned = values(model.backbone)
    for path, value in loaded.items():
        if not path.startswith("class_tokens/"):  # not in the release
            np.testing.assert_array_equal(tuned[path], value)


@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "nan"])
def test_release_that_does_not_fit_is_refused(releases, fault):
    case = "dapt_pointmae_tiny"
    state = state_of(case)
    name = "blocks.blocks.1.mlp.fc1.weight"
    if fault == "missing":
        del state[name]
    elif fault == "extra":
        name = "blocks.blocks.3.mlp.fc1.weight"
        state[name] = torch.zeros(4)
    elif fault == "shape":
        state[name] = state[name][:-1]
    else:
        state[name][0, 0] = float("nan")
    write_release(releases / f"{case}.pth", state)
    with pytest.raises(ValueError, match=name):
        keras_pointpeft.from_preset("dapt_pointmaetest_dust")


class Malicious:
    """Unpickling this would make a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_release_with_code_is_refused_and_not_run(releases, tmp_path):
    case, trace = "dapt_pointmae_tiny", tmp_path / "trace"
    write_release(
        releases / f"{case}.pth", state_of(case), config=Malicious(trace)
    )
    with pytest.raises(ValueError, match=f"{case}.pth"):
        keras_pointpeft.from_preset("dapt_pointmaetest_dust")
    assert not trace.exists()


def test_damaged_release_is_named(releases):
    case = "dapt_pointmae_tiny"
    releases.mkdir(parents=True)
    (releases / f"{case}.pth").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(ValueError, match=f"{case}.pth"):
        keras_pointpeft.from_preset("dapt_pointmaetest_dust")
