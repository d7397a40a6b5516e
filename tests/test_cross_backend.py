"""What one backend saves, the others load."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_pointpeft import adapters
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.peft import PriorBank
from tests.conftest import small_classifier
from tests.test_registry import build
from tests.test_registry import one_of_each_method
from tests.test_registry import values

pytestmark = pytest.mark.once

BACKENDS = ("torch", "tensorflow", "jax")
LOAD = """
import sys
import numpy as np
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.peft import PriorBank
folder = sys.argv[1]
points = np.load(f"{folder}/points.npy")
model = PointCloudClassifier.from_preset(f"{folder}/preset")
loaded = model.predict(points, verbose=0)
model = PointCloudClassifier.from_preset(f"{folder}/fresh")
fresh = model.predict(points, verbose=0)
model.load_adapter(f"{folder}/adapter")
adapted = model.predict(points, verbose=0)
model = PointCloudClassifier.from_preset(f"{folder}/without_bank")
PriorBank.load(f"{folder}/bank.npz").attach(model)
prompted = model.predict(points, verbose=0)
again = PriorBank.build(model, points, dtype="float32", verbose=0).features
np.savez(
    sys.argv[2],
    loaded=loaded,
    fresh=fresh,
    adapted=adapted,
    prompted=prompted,
    bank=again,
)
"""

# Every method's adapter; each variable is as it was, bit for bit.
ADAPTERS = """
import sys
import numpy as np
from keras_pointpeft import adapters
from tests.test_registry import build, one_of_each_method, same_weights
for name in one_of_each_method():
    model = build(name)
    with np.load(f"{sys.argv[1]}/{name}.npz") as expected:
        for path, variable in adapters.split_variables(model)[1].items():
            variable.assign(expected[path])
        model.load_adapter(f"{sys.argv[1]}/{name}")
        same_weights(model, expected)
        if name.startswith("pointgst"):
            found = model.predict(expected["points"], verbose=0)
            np.testing.assert_allclose(found, expected["logits"], atol=1e-5)
print(len(one_of_each_method()), "adapters are the same")
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Presets, an adapter, a bank, and what this backend makes of them."""
    folder = tmp_path_factory.mktemp("saved")
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6, 64, 3)).astype("float32")
    keras.utils.set_random_seed(0)
    model = small_classifier(DAPT(rank=4, frozen_bn="track"))
    np.save(folder / "points.npy", points)
    fresh = model.predict(points, verbose=0)
    model.save_to_preset(str(folder / "fresh"))
    model.fit(points, np.arange(6) % 3, epochs=3, verbose=0)
    model.save_to_preset(str(folder / "preset"))
    model.save_adapter(folder / "adapter")
    tuned = model.predict(points, verbose=0)
    method = PointPEFT(
        num_prompts=5, prior_num_groups=None, prior_group_size=None, bank_size=6
    )
    model = small_classifier(method)
    model.save_to_preset(str(folder / "without_bank"))
    bank = PriorBank.build(model, points, dtype="float32", verbose=0)
    bank.save(folder / "bank.npz")
    bank.attach(model)
    prompted = model.predict(points, verbose=0)
    return folder, fresh, tuned, prompted, bank.features


def skip_without(other):
    if other == keras.config.backend():
        pytest.skip("this backend")
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")


@pytest.mark.parametrize("other", BACKENDS)
def test_other_backends_agree(other, saved, tmp_path):
    skip_without(other)
    folder, fresh, tuned, prompted, bank = saved
    subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), str(tmp_path / "a.npz")],
        env={**os.environ, "KERAS_BACKEND": other},
        check=True,
    )
    with np.load(tmp_path / "a.npz") as found:
        np.testing.assert_allclose(found["fresh"], fresh, atol=1e-5)
        np.testing.assert_allclose(found["loaded"], tuned, atol=1e-5)
        np.testing.assert_allclose(found["adapted"], tuned, atol=1e-5)
        np.testing.assert_allclose(found["prompted"], prompted, atol=1e-5)
        np.testing.assert_allclose(found["bank"], bank, atol=1e-5)
    assert np.abs(tuned - fresh).max() > 1e-3


@pytest.fixture(scope="module")
def saved_adapters(tmp_path_factory):
    """An adapter of every method, and all weights under its own name."""
    folder = tmp_path_factory.mktemp("adapters")
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (2, 64, 3)).astype("float32")
    for name in one_of_each_method():
        model = build(name)
        for variable in adapters.split_variables(model)[0].values():
            if "float" in variable.dtype:
                noise = np.abs(rng.normal(size=variable.shape))
                variable.assign(variable.numpy() + 0.1 * noise)
        model.save_adapter(folder / name)
        more = {}
        if name.startswith("pointgst"):
            logits = model.predict(points, verbose=0)
            more = {"points": points, "logits": logits}
        np.savez(folder / f"{name}.npz", **values(model.weights), **more)
    return folder


@pytest.mark.parametrize("other", BACKENDS)
def test_adapters_of_every_method_are_the_same(other, saved_adapters):
    skip_without(other)
    found = subprocess.run(
        [sys.executable, "-c", ADAPTERS, str(saved_adapters)],
        cwd=pathlib.Path(__file__).parents[1],
        env={**os.environ, "KERAS_BACKEND": other},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert f"{len(one_of_each_method())} adapters" in found.stdout
