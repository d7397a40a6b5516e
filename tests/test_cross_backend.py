"""What one backend saves, the others load."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_pointpeft.peft import DAPT
from tests.conftest import small_classifier

BACKENDS = ("torch", "tensorflow", "jax")
LOAD = """
import sys
import numpy as np
from keras_pointpeft.models import PointCloudClassifier
folder = sys.argv[1]
points = np.load(f"{folder}/points.npy")
model = PointCloudClassifier.from_preset(f"{folder}/preset")
loaded = model.predict(points, verbose=0)
model = PointCloudClassifier.from_preset(f"{folder}/fresh")
fresh = model.predict(points, verbose=0)
model.load_adapter(f"{folder}/adapter")
adapted = model.predict(points, verbose=0)
np.savez(sys.argv[2], loaded=loaded, fresh=fresh, adapted=adapted)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tuned preset, its start, its adapter, and the logits of each."""
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
    return folder, fresh, model.predict(points, verbose=0)


@pytest.mark.parametrize("other", BACKENDS)
def test_other_backends_agree(other, saved, tmp_path):
    if other == keras.config.backend():
        pytest.skip("this backend")
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    folder, fresh, tuned = saved
    subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), str(tmp_path / "a.npz")],
        env={**os.environ, "KERAS_BACKEND": other},
        check=True,
    )
    with np.load(tmp_path / "a.npz") as found:
        np.testing.assert_allclose(found["fresh"], fresh, atol=1e-5)
        np.testing.assert_allclose(found["loaded"], tuned, atol=1e-5)
        np.testing.assert_allclose(found["adapted"], tuned, atol=1e-5)
    assert np.abs(tuned - fresh).max() > 1e-3
