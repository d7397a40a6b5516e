import copy
import gc
import importlib.util
import pathlib
import sys

import keras
import numpy as np
import pytest
from absl import flags

from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import Full
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.peft import PointPEFT

METHODS = {
    "dapt": lambda: DAPT(rank=4, dropout=0.1),
    "dapt_track": lambda: DAPT(rank=4, frozen_bn="track"),
    "full": Full,
    "linear": LinearProbe,
    "pointpeft": lambda: PointPEFT(
        prior=False, prompt_blocks=1, num_prompts=4, adapter_rank=4
    ),
}


# What runs on the first of several backends alone (`scripts/test.sh`): files
# and programs around models, and variants of models whose layers are tested
# one by one. A model on jax compiles half a minute.
ONCE = (
    "presets/test_convert",
    "checkpoints/test_fuzz",
    "checkpoints/test_reader",
    "checkpoints/test_sources",
    "data/",
    "docs/",
    "models/test_classifier.py::test_preset_round_trip",
    "models/test_classifier.py::test_samples_do_not_depend_on_their_batch",
    "models/test_frozen_stem",
    "models/test_masked_autoencoder.py::test_recorded_case",
    "models/test_point_m2ae.py::test_bank_of_a_hierarchy",
    "models/test_point_m2ae.py::test_hidden_below",
    "models/test_point_m2ae.py::test_reconstruction_does_not_depend",
    "models/test_point_m2ae.py::test_round_trip_and_independence",
    "models/test_segmenters.py::test_a_method_trains_and_keeps",
    "models/test_trunks.py::test_frozen_weights_stay",
    "peft/test_point_peft.py::test_logits_do_not_depend_on_the_batch",
    "reports/",
    "scripts/",
    "test_contributing",
    "test_cross_backend",
    "files/test_downloads",
    "test_faults",
    "presets/test_faults",
    "presets/test_presets",
    "test_registry.py::test_a_cloud_does_not_depend_on_its_batch",
    "presets/test_releases",
    "training/test_segmentation.py::test_scenes",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(ONCE):
            item.add_marker("once")


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def compiled_functions():
    """Those of a finished file are of no use, and add up to gigabytes."""
    yield
    gc.collect()
    if keras.config.backend() == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture
def clouds():
    """A few random clouds `(6, 64, 3)` and labels."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6, 64, 3)).astype("float32")
    return points, np.arange(6, dtype="int32") % 3


def load_script(path):
    """A script as a module, its path from the root; and the flags it defines.

    absl keeps flags for the whole process, where those of two scripts would
    clash: here they are a set of their own.
    """
    path = pathlib.Path(__file__).parents[1] / path
    name = f"loaded_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where absl looks for a flag's owner
    values = flags.FlagValues()
    # As Python does for a script: it may import its neighbours.
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
        del sys.modules[name]
        for flag in list(flags.FLAGS.flags_by_module_dict().get(name, ())):
            values[flag.name] = copy.deepcopy(flag)
            delattr(flags.FLAGS, flag.name)
    return module, values


def load_file(path):
    """A file outside of the package as a module, its path from the root."""
    return load_script(path)[0]


def small_backbone(peft=None, **kwargs):
    """A backbone that builds and runs in no time."""
    config = {
        "num_groups": 8,
        "group_size": 8,
        "dim": 24,
        "depth": 2,
        "num_heads": 3,
        "encoder_dims": (8, 12, 16),
        **kwargs,
    }
    return PointMAEBackbone(peft=peft, **config)


def small_classifier(peft=None, num_classes=3, **kwargs):
    return PointCloudClassifier(
        small_backbone(peft, **kwargs), num_classes, head_dims=(16,)
    )
