import collections
import contextlib
import copy
import gc
import importlib
import importlib.util
import pathlib
import resource
import sys

import numpy as np
import pytest
from absl import flags

SMALL = ("METHODS", "small_backbone", "small_classifier")


def __getattr__(name):
    """Those of `tests.small`.

    Keras is imported by what needs it: the process that hands out the tests to
    others imports this file alone, and they wait for it.
    """
    if name not in SMALL:
        raise AttributeError(name)
    return getattr(importlib.import_module("tests.small"), name)


@pytest.fixture(autouse=True)
def seed():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def eager_steps(request):
    """Where what is compared does not depend on how a step runs."""
    import keras

    marked = request.node.get_closest_marker("eager")
    if not marked or keras.config.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(autouse=True, scope="session")
def graphs_as_they_are_traced():
    """A graph that runs a few times is not worth being optimized."""
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        options = {"disable_meta_optimizer": True}
        tf.config.optimizer.set_experimental_options(options)


def gigabytes():
    """Memory in use; where that is not known, the most there has been."""
    pages = pathlib.Path("/proc/self/statm")
    if pages.exists():
        used = int(pages.read_text().split()[1])
        return used * resource.getpagesize() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@pytest.hookimpl(trylast=True)  # of what is selected
def pytest_collection_modifyitems(items):
    """Long files first, then those with many tests: what ends last is short.

    Files go to whichever process is free, and the others wait for the last.
    """
    files = collections.defaultdict(list)
    for item in items:
        files[item.path].append(item)

    def place(tests):
        long = any(test.get_closest_marker("long") for test in tests)
        return not long, -len(tests)

    items[:] = [
        test for tests in sorted(files.values(), key=place) for test in tests
    ]


def pytest_collection_finish():
    """What was imported stays: looking through it takes half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def left():
    """How many gigabytes were left when what is not used was last let go."""
    return {"gigabytes": gigabytes()}


@pytest.fixture(autouse=True, scope="module")
def what_is_no_longer_used(left):
    """Goes when half a gigabyte has come in, jax' functions above three.

    Looking for it behind each file took a twentieth of all tests' time.
    """
    import keras

    yield
    if gigabytes() < left["gigabytes"] + 0.5:
        return
    gc.collect()
    if keras.config.backend() == "jax" and gigabytes() > 3:
        import jax

        jax.clear_caches()
    left["gigabytes"] = gigabytes()


@pytest.fixture
def clouds():
    """A few random clouds `(6, 64, 3)` and labels."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6, 64, 3)).astype("float32")
    return points, np.arange(6, dtype="int32") % 3


@contextlib.contextmanager
def imported_script(path):
    """A script as a module, its path from the root, with its flags defined.

    absl keeps flags for the whole process, where those of two scripts would
    clash: they are gone again afterwards.
    """
    path = pathlib.Path(__file__).parents[1] / path
    name = f"loaded_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where absl looks for a flag's owner
    # As Python does for a script: it may import its neighbours.
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(path.parent))
        del sys.modules[name]
        for flag in list(flags.FLAGS.flags_by_module_dict().get(name, ())):
            delattr(flags.FLAGS, flag.name)


def load_script(path):
    """A script as a module, and its flags as a set of their own."""
    values = flags.FlagValues()
    with imported_script(path) as module:
        defined = flags.FLAGS.flags_by_module_dict()
        for flag in defined.get(module.__name__, ()):
            values[flag.name] = copy.deepcopy(flag)
    from keras_pointpeft import commands

    if getattr(module, "run", None) is commands.run:  # a verb of the console
        verb = pathlib.Path(path).stem.partition("_")[0]
        module = importlib.import_module(f"keras_pointpeft.commands.{verb}")
        for name in module.FLAGS:
            values[name] = copy.deepcopy(module.FLAGS[name])
    return module, values


def load_file(path):
    """A file outside of the package as a module, its path from the root."""
    return load_script(path)[0]
