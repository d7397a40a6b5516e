"""The examples of public names run, and what raises says so."""

import ast
import importlib
import inspect
import re
import textwrap

import keras
import numpy as np
import pytest

import keras_pointpeft
from tests.conftest import load_file

pytestmark = pytest.mark.once

DATA = "needs the official data set"
WEIGHTS = "needs published weights or a checkpoint"
NETWORK = "needs an account on a hub"
FILES = "tests/experiments/test_prediction.py predicts files"
# Examples that are read alone.
NOT_RUN = {
    "adapters.upload_adapter": NETWORK,
    "checkpoints.NameMap": WEIGHTS,
    "checkpoints.load_into": WEIGHTS,
    "checkpoints.read_checkpoint": WEIGHTS,
    "checkpoints.write_checkpoint": WEIGHTS,
    "data.load_few_shot": DATA,
    "data.load_folder": DATA,
    "data.load_h5": DATA,
    "data.load_modelnet": DATA,
    "data.load_s3dis": DATA,
    "data.load_scanobjectnn": DATA,
    "data.load_shapenet55": DATA,
    "data.load_shapenetpart": DATA,
    "data.read_content": FILES,
    "experiments.predict_files": FILES,
    "keras_pointpeft.from_preset": WEIGHTS,
    "keras_pointpeft.predict_files": FILES,
    "presets.add_cards": "tests/test_contributing.py adds cards",
    "presets.from_preset": WEIGHTS,
    "reports.write_report": "tests/docs/test_own_data.py writes one",
    "reports.write_task_report": "tests/docs/test_own_data.py writes one",
}


def public():
    """Every public class and function, by the name that users write."""
    found = {}
    for module, names in load_file("docs/pages.py").public_names().items():
        full = "keras_pointpeft"
        if module != full:
            full = f"{full}.{module}"
        imported = importlib.import_module(full)
        for name in names:
            value = getattr(imported, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{module}.{name}"] = value
    return found


PUBLIC = public()


def functions(value):
    """A function, or what a class defines itself, by name."""
    if not inspect.isclass(value):
        return {value.__name__: value}
    found = {}
    for name, held in vars(value).items():
        held = getattr(held, "__func__", held)
        held = held.fget if isinstance(held, property) else held
        if inspect.isfunction(held):
            # What is inherited, or made by a dataclass, stands elsewhere.
            file = inspect.unwrap(held).__code__.co_filename
            if file == inspect.getsourcefile(value):
                found[name] = held
    return found


def examples(value):
    """The code in the docstrings of a name and of its methods."""
    holders = [value]
    if inspect.isclass(value):
        holders += functions(value).values()
    texts = [inspect.cleandoc(x.__doc__ or "") for x in holders]
    return [
        textwrap.dedent(code)
        for text in texts
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ]


def names():
    """What an example may take for granted."""
    rng = np.random.default_rng(0)
    return {
        "keras": keras,
        "np": np,
        "keras_pointpeft": keras_pointpeft,
        "points": rng.uniform(-1, 1, (8, 512, 3)).astype("float32"),
        "labels": np.arange(8, dtype="int32") % 2,
    }


@pytest.mark.parametrize("name", [n for n in PUBLIC if examples(PUBLIC[n])])
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = names()  # and what the examples before have defined
    for code in examples(PUBLIC[name]):
        code = re.sub(r"\bepochs=\d+", "epochs=1", code)
        code = re.sub(r"\binitial_epoch=\d+", "initial_epoch=0", code)
        compiled = compile(code, name, "exec")
        if name not in NOT_RUN:
            exec(compiled, known)


def test_classes_have_examples():
    assert set(NOT_RUN) <= set(PUBLIC)
    without = {
        name
        for name, value in PUBLIC.items()
        if inspect.isclass(value) and not examples(value)
        if not issubclass(value, Exception)
    }
    assert not without - {
        "checkpoints.Source",  # what functions return
        "checkpoints.TransferReport",
    }


def raised(function):
    """Names of the errors that a function raises itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found = {
        getattr(getattr(node.exc, "func", node.exc), "id", None)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
    }
    # What ends a program, and what Python itself asks for, needs no word.
    silent = {"AttributeError", "NotImplementedError", "SystemExit"}
    return found - {None} - silent


@pytest.mark.parametrize("name", PUBLIC)
def test_what_raises_says_so(name):
    value = PUBLIC[name]
    about = inspect.getdoc(value) or ""
    for method, function in functions(value).items():
        if raised(function) and "Raises" not in about:
            own = inspect.getdoc(function) or ""
            assert re.search(r"^Raises", own, re.MULTILINE), method
