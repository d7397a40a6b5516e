import os
import pathlib
import shutil
import subprocess
import sys
import tomllib
import zipfile

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[1]


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.once
def test_every_package_is_listed():
    with open(ROOT / "pyproject.toml", "rb") as stream:
        listed = tomllib.load(stream)["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "keras_pointpeft").rglob("__init__.py")
    }
    assert set(listed) == found | {"keras_pointpeft.zoo"}


@pytest.mark.once
def test_import_is_cheap():
    code = (
        "import sys, keras_pointpeft; "
        "print([m for m in ('keras', 'keras_hub', 'tensorflow', 'torch', "
        "'jax') if m in sys.modules])"
    )
    assert run(code).strip() == "[]"


# All but models and checkpoints, which bring keras-hub; keras-hub brings
# TensorFlow where that is installed.
PARTS = ("ops", "layers", "peft", "data", "training")
WITHOUT_MODELS = ", ".join(
    f"keras_pointpeft.{name}" for name in (*PARTS, "presets")
)


def test_methods_and_geometry_need_no_keras_hub():
    code = (
        "import sys, keras; print(len(sys.modules)); "
        f"import {WITHOUT_MODELS}; "
        "print(len(sys.modules), 'keras_hub' in sys.modules, "
        "'tensorflow' in sys.modules)"
    )
    alone, modules, *brought = run(code).split()
    backend = keras.config.backend()
    assert brought == ["False", str(backend == "tensorflow")]
    # And hardly more than Keras itself brings.
    assert int(modules) < 1.1 * int(alone)


@pytest.mark.parametrize(
    "backend, choice",
    [
        (
            "tensorflow",
            "import tensorflow as tf; "
            "(cpu,) = tf.config.list_physical_devices('CPU'); "
            "half = tf.config.LogicalDeviceConfiguration(); "
            "tf.config.set_logical_device_configuration(cpu, [half, half])",
        ),
        ("jax", "import jax; jax.config.update('jax_num_cpu_devices', 2)"),
    ],
)
def test_import_leaves_the_choice_of_devices(backend, choice):
    if keras.config.backend() != backend:
        pytest.skip("another backend's way to choose")
    folders = [ROOT / "keras_pointpeft" / name for name in (*PARTS, "models")]
    modules = ", ".join(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in folders
        for path in sorted(folder.glob("*.py"))
    )
    # Both refuse once anything has been computed.
    run(f"import {modules}; {choice}")


@pytest.mark.slow
def test_import_takes_little_longer_than_that_of_keras():
    def seconds(modules):
        # Of the processor, not of the clock; the best of three.
        code = f"import time, {modules}; print(time.process_time())"
        return min(float(run(code)) for _ in range(3))

    alone = seconds("keras")
    assert seconds("keras, keras_pointpeft") < 1.2 * alone
    assert seconds(f"keras, {WITHOUT_MODELS}") < 1.2 * alone


@pytest.mark.once
def test_nothing_private_is_imported():
    for path in (ROOT / "keras_pointpeft").rglob("*.py"):
        text = path.read_text()
        assert "keras.src" not in text, path
        assert "keras_hub.src" not in text, path


IN_AN_EMPTY_FOLDER = """
import os
import pathlib
import sys

# In front of the repository, which may be installed as a link.
sys.path.insert(0, sys.argv[1])

import numpy as np

import keras_pointpeft

print(pathlib.Path(keras_pointpeft.__file__).parent)
assert len(keras_pointpeft.list_presets()) > 100
model = keras_pointpeft.from_preset(
    "dapt_pointmaetiny_shapes", load_weights="backbone", num_classes=2
)
points = np.random.default_rng(0).normal(size=(4, 512, 3)).astype("float32")
model.fit(points, np.arange(4) % 2, verbose=0)
model.save_adapter("adapter")
model.load_adapter("adapter")
print(model.predict(points, verbose=0).shape)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A wheel, and the folder that it is installed in, without a network."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    # Of a copy, for setuptools writes into the tree that it builds.
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("keras_pointpeft", "zoo"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "--quiet")
    alone = ("--no-deps", "--no-index")
    build = ("wheel", *alone, "--no-build-isolation", "--wheel-dir")
    subprocess.run([*pip, *build, str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    install = ("install", *alone, "--target", str(folder / "installed"))
    subprocess.run([*pip, *install, str(wheel)], check=True)
    return wheel, folder / "installed"


@pytest.mark.once
def test_wheel_carries_the_zoo(installed):
    inside = set(zipfile.ZipFile(installed[0]).namelist())
    for path in (ROOT / "zoo").rglob("*"):
        if path.is_file() and path.suffix in (".json", ".h5", ".csv"):
            name = f"keras_pointpeft/zoo/{path.relative_to(ROOT / 'zoo')}"
            assert name in inside


@pytest.mark.once
def test_wheel_works_without_the_repository(installed, tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", IN_AN_EMPTY_FOLDER, str(installed[1])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    place, shape = process.stdout.splitlines()
    assert place == str(installed[1] / "keras_pointpeft")
    assert shape == "(4, 2)"


@pytest.mark.once
def test_wheel_brings_the_console_command(installed, tmp_path):
    command = installed[1] / "bin" / "keras-pointpeft"
    environment = {**os.environ, "PYTHONPATH": str(installed[1])}

    def shown(*words):
        return subprocess.run(
            [sys.executable, str(command), *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "keras-pointpeft train --preset=" in shown()
    assert "dapt_pointmaetiny_shapes" in shown("presets", "dapt_*_shapes")
    assert "--learning_rate=" in shown("train", "--help")
