"""Whatever can take long says so, with a line every few seconds."""

import contextlib
import importlib
import pathlib
import time
from unittest import mock

import h5py
import keras
import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import adapters
from keras_pointpeft import checkpoints
from keras_pointpeft import data
from keras_pointpeft import experiments
from keras_pointpeft import lazy
from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft import reports
from keras_pointpeft import training
from keras_pointpeft.commands.console import VERBS
from keras_pointpeft.data import make_shapes
from keras_pointpeft.files import progress
from tests.conftest import METHODS
from tests.conftest import small_backbone
from tests.conftest import small_classifier
from tests.listening import listening

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(12, 64, 3)).astype("float32")
TINY = "dapt_pointmaetiny_shapes"


def split(parts=False):
    labels = np.zeros((12, 64), "int32") if parts else None
    points = data.unit_sphere(POINTS)
    return data.Split(points, np.arange(12) % 3, "abc", part_labels=labels)


def rooms():
    points = RNG.uniform(0, 3, (400, 3))
    return [data.Room(points, np.arange(400) % 2, "a room")]


def segmenter():
    return models.SemanticSegmenter(
        small_backbone(use_class_token=False, depth=12),
        num_classes=2,
        propagation_dims=(16,),
        head_dims=(16,),
    )


def part_segmenter():
    return models.PartSegmenter(
        small_backbone(use_class_token=False, depth=12),
        num_classes=2,
        num_categories=3,
        category_parts=((0,), (1,), (0, 1)),
        head_dims=(16,),
    )


def folder(root):
    for label in "abc":
        (root / "train" / label).mkdir(parents=True)
        np.save(root / "train" / label / "1.npy", POINTS[0])
    return root


def h5_file(root):
    with h5py.File(root / "train.h5", "w") as file:
        file["data"], file["label"] = split().points, split().labels
    return root


def scenes(root):
    values = np.concatenate([rooms()[0].points, np.zeros((400, 4))], axis=1)
    np.save(root / "Area_1_a.npy", values)
    return root


def adapter(root):
    model = keras_pointpeft.from_preset(TINY, load_weights="backbone")
    model.save_adapter(root / "adapter")
    return root / "adapter"


def cloud(root):
    np.save(root / "a.npy", POINTS[0])
    return root / "a.npy"


def trained(root):
    recipe = training.Recipe(epochs=1, batch_size=6, num_points=64)
    model = small_classifier()
    return model, training.train(model, split(), split(), recipe), recipe


def write_report(ready, root):
    pytest.importorskip("plotly")
    model, result, recipe = ready
    reports.write_task_report(
        model, result, split(), split(), recipe, root / "report"
    )


# What is made ready without a wait, and the call that can take long.
CALLS = {
    "starting Keras": (None, lambda _, __: first_use()),
    "reading shapes, train": (
        None,
        lambda _, __: data.load("shapes", num_clouds=2, num_points=64),
    ),
    "making shapes": (None, lambda _, __: make_shapes(20, num_points=256)),
    "making rooms": (
        None,
        lambda _, __: data.load_rooms(num_rooms=1, num_points=512),
    ),
    "reading scans": (
        folder,
        lambda root, _: data.load_folder(root, num_points=64),
    ),
    "reading clouds": (h5_file, lambda root, _: data.load_h5(root)),
    "reading scenes": (
        scenes,
        lambda root, _: data.load_s3dis(root, class_names=("a", "b")),
    ),
    "preparing clouds": (
        None,
        lambda _, __: data.Contract(num_points=32).prepare(POINTS),
    ),
    "sampling points": (
        None,
        lambda _, __: data.sample_points(POINTS, 32, "fps"),
    ),
    "building the model": (
        None,
        lambda _, __: keras_pointpeft.from_preset(TINY, load_weights=False),
    ),
    "building the model, ": (
        adapter,
        lambda path, _: keras_pointpeft.from_adapter(path),
    ),
    "training": (lambda _: small_classifier(), lambda m, _: train(m)),
    "training, ": (lambda _: segmenter(), lambda m, _: train_rooms(m)),
    "measuring": (
        lambda _: small_classifier(),
        lambda model, _: training.evaluate(model, split(), batch_size=4),
    ),
    "measuring, vote": (
        lambda _: small_classifier(),
        lambda model, _: training.vote_logits(
            model, split(), votes=2, sampling="random"
        ),
    ),
    "predicting clouds": (
        lambda root: (small_classifier(), cloud(root)),
        lambda ready, _: keras_pointpeft.predict_files(*ready),
    ),
    "predicting scenes": (
        lambda root: (segmenter(), cloud(root)),
        lambda ready, _: keras_pointpeft.predict_files(*ready),
    ),
    "predicting a scene": (
        lambda _: segmenter(),
        lambda model, _: model.predict_room(rooms()[0].points, num_points=64),
    ),
    "predicting parts": (
        lambda _: part_segmenter(),
        lambda model, _: model.predict_parts(POINTS, np.arange(12) % 3),
    ),
    "extracting features": (
        lambda _: small_backbone(),
        lambda backbone, _: training.pooled_features(backbone, POINTS),
    ),
    "extracting features, ": (
        lambda _: small_backbone(),
        lambda backbone, _: backbone.extract(POINTS, blocks=(1,)),
    ),
    "fitting a linear SVM": (
        lambda _: pytest.importorskip("sklearn.svm"),
        lambda _, __: training.svm_accuracy(
            POINTS[:, 0], np.arange(12) % 3, POINTS[:, 0], np.arange(12) % 3
        ),
    ),
    "building a bank": (
        lambda _: small_backbone(METHODS["pointpeft"]()),
        lambda backbone, _: peft.PriorBank.build(backbone, POINTS),
    ),
    "choosing entries": (
        lambda _: peft.PriorBank(RNG.random((40, 8)).astype("float32"), ""),
        lambda bank, _: bank.sample(30, "k_center"),
    ),
    "merging": (
        lambda _: small_classifier(peft.LoRA(rank=2)),
        lambda model, _: adapters.merge(model),
    ),
    "writing weights": (
        lambda _: keras_pointpeft.from_preset(TINY, load_weights=False),
        lambda model, root: checkpoints.write_checkpoint(
            model, root / "x.pth"
        ),
    ),
    "measuring time": (
        None,
        lambda _, __: experiments.cost.interleaved_seconds(
            {"a": lambda: time.sleep(0.02)}, 2
        ),
    ),
    "exporting": (
        lambda _: small_classifier(),
        lambda model, root: exported(model, root),
    ),
    "writing the report": (trained, write_report),
}


def first_use():
    """The first use of a name imports what it needs."""
    get, _, _ = lazy.face("keras_pointpeft", {"time": "not_yet"})
    with mock.patch.object(importlib, "import_module", lambda _: time):
        get("time")


def exported(model, root):
    """Traced elsewhere, for half a minute: tests/models/test_export.py."""
    if keras.backend.backend() != "torch":
        pytest.skip("onnx is written on torch")
    with mock.patch("keras_pointpeft.models.export.task.export"):
        model.export(root / "model.onnx", format="onnx")


def train(model):
    recipe = training.Recipe(epochs=2, batch_size=4, num_points=64)
    training.train(model, split(), split(), recipe)


def train_rooms(model):
    recipe = training.Recipe(
        epochs=2, batch_size=2, num_points=64, column_min_points=8
    )
    training.train(model, rooms(), rooms(), recipe)


@contextlib.contextmanager
def at_once(monkeypatch):
    """What would be said after some seconds is said as work begins."""
    enter = progress.Progress.__enter__

    def told(self):
        progress.tell(self.line())
        return enter(self)

    with monkeypatch.context() as patch:
        patch.setattr(progress.Progress, "_begin", 0.0, raising=False)
        patch.setattr(progress.Progress, "__enter__", told)
        yield


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", CALLS)
def test_it_says_what_it_does(what, monkeypatch, capsys, tmp_path):
    ready, call = CALLS[what]
    with progress.silent():
        ready = ready and ready(tmp_path)
    with listening() as heard, at_once(monkeypatch):
        call(ready, tmp_path)
    assert not heard.silent
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith(what) for line in lines), lines


def test_the_time_that_is_left(capsys):
    """An epoch's line has its figures and the time of those to come."""
    train(small_classifier())
    lines = capsys.readouterr().err.splitlines()
    (first, *_, last) = [x for x in lines if x.startswith("epoch ")]
    assert first.startswith("epoch 1/2: ") and "loss" in first
    assert "left" in first and "left" not in last


def test_silent_processes_say_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "INTERVAL", 1e-4)
    with progress.silent():
        make_shapes(10, num_points=128)
    assert capsys.readouterr().err == ""


def test_a_listener_hears_silence():
    model, points = small_classifier(), np.repeat(POINTS, 40, axis=0)
    with listening() as heard:
        model.predict(points, verbose=0)
    assert heard.silent == ["Model.predict"]
    with listening() as heard:
        model.predict(points, verbose=1)
    assert heard.slow and not heard.silent


# What a test runs through `run_script`, which listens to it, or why nothing
# in it can take long without a line.
SCRIPTS = {
    "build_bank": "tests/scripts/test_small_scripts.py",
    "compare": "tests/scripts/test_compare.py",
    "convert_checkpoint": "tests/docs/test_commands.py",
    "download_data": "tests/scripts/test_segmentation.py",
    "evaluate": "tests/scripts/test_evaluate.py",
    "export_checkpoint": "tests/scripts/test_small_scripts.py",
    "few_shot": "tests/scripts/test_segmentation.py",
    "measure_corruptions": "tests/scripts/test_measure_corruptions.py",
    "measure_files": "tests/scripts/test_measure_files.py",
    "measure_scales": "tests/scripts/test_small_scripts.py",
    "measure_selection": "tests/scripts/test_small_scripts.py",
    "measure_serving": "tests/scripts/test_small_scripts.py",
    "measure_test_time": "tests/scripts/test_small_scripts.py",
    "predict": "tests/scripts/test_small_scripts.py",
    "pretrain": "tests/scripts/test_small_scripts.py",
    "quickstart": "tests/scripts/test_quickstart.py",
    "report": "tests/scripts/test_train.py",
    "train": "tests/scripts/test_train.py",
    "verify_reference": "tests/scripts/test_small_scripts.py",
    "benchmark/run": "tests/scripts/test_benchmark.py",
}
CALLS_ONLY = "loads, trains and measures by the calls above, a line for each"
SHORT = {
    "ablation": CALLS_ONLY,
    "draw_attention": "one model, a few clouds",
    "measure_methods": CALLS_ONLY,
    "probe": "has a line of its own around all of a probe",
    "count_files": "two steps of a small model",
    "gpu_check": "has a line for each check, and a budget of seconds",
    "zoo_table": "reads cards and tables",
}


def test_every_script_is_listened_to():
    found = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert found | {"benchmark/run"} == set(SCRIPTS) | set(SHORT)
    assert not set(SCRIPTS) & set(SHORT)
    assert set(VERBS) - found <= {"convert", "presets", "completion"}
    for name, place in SCRIPTS.items():
        text = (ROOT / place).read_text()
        assert f"{name}.py" in text and "run_script(" in text, name
