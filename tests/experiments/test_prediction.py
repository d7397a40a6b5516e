"""Scan in, label out: what `predict_files` makes of files as people have."""

import csv
import json
import logging

import keras
import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import data
from keras_pointpeft import models
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import train
from tests.conftest import small_backbone
from tests.data.test_contract import NAMES
from tests.data.test_contract import scans

pytestmark = pytest.mark.once

PLACE = np.array([4e5, 5.4e6, 352.0])


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """Of a short training on two kinds of things."""
    keras.utils.set_random_seed(0)
    made = scans(32, points=128, seed=8)
    split = data.Split(data.unit_sphere(made), np.arange(32) % 2, NAMES)
    model = keras_pointpeft.from_preset(
        "dapt_pointmaetiny_shapes", load_weights="backbone", num_classes=2
    )
    recipe = Recipe(
        updates=40,
        batch_size=8,
        learning_rate=4e-3,
        num_points=128,
        selection="last",
    )
    about = {"preset": "dapt_pointmaetiny_shapes", "dataset": "folder"}
    train(model, split, split, recipe, about=about)
    path = tmp_path_factory.mktemp("run") / "adapter"
    model.save_adapter(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Six unlabelled scans in three formats, at map coordinates."""
    laspy = pytest.importorskip("laspy")
    root = tmp_path / "new"
    (root / "deeper").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / ".hidden" / "no.xyz").write_text("not a scan")
    (root / "notes.md").write_text("about the campaign")
    for number, cloud in enumerate(scans(6, points=900, seed=9)):
        cloud = cloud[: 900 - 100 * number] * 1.7 + PLACE
        kind = NAMES[number % 2]
        if number < 2:
            np.savetxt(root / f"{number}_{kind}.xyz", cloud, fmt="%.3f")
        elif number < 4:
            np.save(root / "deeper" / f"{number}_{kind}.npy", cloud)
        else:
            scan = laspy.create(point_format=0)
            scan.header.offsets, scan.header.scales = PLACE, [1e-3] * 3
            scan.x, scan.y, scan.z = cloud.T
            scan.write(root / f"{number}_{kind}.las")
    return root


def test_files_of_any_kind_at_any_place(adapter, folder, tmp_path):
    table = tmp_path / "found.csv"
    found = keras_pointpeft.predict_files(adapter, folder, table, batch_size=4)
    assert len(found) == 6
    for row in found:
        assert row.name in row.path and row.confidence > 0.5
        assert row.scores.sum() == pytest.approx(1, abs=1e-5)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [row.path for row in found]
    assert [row["class"] for row in rows] == [row.name for row in found]
    for row in rows:
        share = float(row[f"probability: {row['class']}"])
        assert float(row["confidence"]) == pytest.approx(share)
    # One file alone, and with votes.
    (one,) = keras_pointpeft.predict_files(adapter, found[2].path, votes=3)
    assert one.name == found[2].name and 1 <= one.votes <= 3


def test_what_cannot_be_used_is_named(adapter, folder, tmp_path, caplog):
    (folder / "broken.xyz").write_text("1 2 3\n4 5 nan\n")
    (folder / "lost.npy").symlink_to(tmp_path / "nowhere.npy")
    with pytest.raises(ValueError, match="2 of 8 clouds.*broken.xyz"):
        keras_pointpeft.predict_files(adapter, folder, tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()
    with pytest.warns(UserWarning, match="2 of 8 clouds.*broken.xyz"):
        with caplog.at_level(logging.WARNING):
            found = keras_pointpeft.predict_files(
                adapter, folder, on_bad="skip"
            )
    assert len(found) == 6
    assert "1 other files are left out: notes.md" in caplog.text
    with pytest.raises(FileNotFoundError, match="no such file"):
        keras_pointpeft.predict_files(adapter, folder / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="No files of points"):
        keras_pointpeft.predict_files(adapter, tmp_path / "empty")
    with pytest.raises(ValueError, match="its points none"):
        keras_pointpeft.predict_files(adapter, folder, labelled=tmp_path / "y")


def test_arrays_that_are_not_prepared_are_warned_of(adapter):
    model = keras_pointpeft.from_adapter(adapter)
    raw = scans(8, points=900, seed=10)
    points = model.contract.prepare(raw + PLACE)
    names = np.array(NAMES)[model.predict(points, verbose=0).argmax(-1)]
    assert (names == np.tile(NAMES, 4)).mean() > 0.8
    for other, word in (
        (points * 20, "scale"),
        (points + 50, "place"),
        (data.unit_sphere(raw), "number of points"),
        (data.unit_sphere(data.sample_points(raw, 128, "fps")), "sampling"),
    ):
        with pytest.warns(UserWarning, match=word):
            model.predict(other, verbose=0)


def test_what_is_known_goes_along(adapter, tmp_path):
    model = keras_pointpeft.from_adapter(adapter)
    assert model.contract.class_names == NAMES
    assert model.clone().contract == model.contract
    # A head for other classes knows nothing of them.
    assert model.clone(num_classes=5).contract.class_names is None
    model.save_to_preset(tmp_path / "model")
    loaded = keras_pointpeft.from_preset(tmp_path / "model")
    assert loaded.contract == model.contract
    # Several adapters of one backbone each have their own.
    model.add_adapter("fresh")
    model.set_adapter("fresh")
    assert model.contract.class_names is None
    model.set_adapter("default")
    assert model.contract.class_names == NAMES


def test_classes_are_matched_by_name(adapter):
    names = keras_pointpeft.adapters.read_contract(adapter).class_names
    assert names == NAMES
    points = np.zeros((3, 8, 3))
    swapped = data.Split(points, [0, 1, 1], NAMES[::-1])
    assert swapped.with_classes(names).labels.tolist() == [1, 0, 0]
    part = data.Split(points, [0, 0, 0], ("box",)).with_classes(names)
    assert part.labels.tolist() == [1, 1, 1] and part.class_names == NAMES
    parted = data.Split(
        points,
        [0, 0, 0],
        ("box",),
        part_labels=np.array([[0, 1, -1, 1, 0, 0, 1, 1]] * 3),
        part_names=("lid", "side"),
    ).with_classes(names, ("side", "floor", "lid"))
    assert parted.part_labels[0, :4].tolist() == [2, 0, -1, 0]
    renamed = data.Split(points, [0, 1, 1], ("sphere", "box"), name="mine")
    with pytest.raises(ValueError, match="'ball', 'box'.*'sphere'"):
        renamed.with_classes(names)


def test_an_earlier_adapter_loads_and_says_what_it_does_not_know(
    adapter, folder, tmp_path, caplog
):
    old = tmp_path / "old"
    old.mkdir()
    for file in adapter.iterdir():
        (old / file.name).write_bytes(file.read_bytes())
    config = json.loads((old / "adapter.json").read_text())
    for name in ("contract", "backbone_config"):
        del config[name]
    (old / "adapter.json").write_text(json.dumps(config))
    with caplog.at_level(logging.WARNING):
        model = keras_pointpeft.from_adapter(old)
    assert "does not know its class names, num points" in caplog.text
    assert model.contract.class_names is None
    clouds = scans(2, points=128, seed=11)
    points = data.unit_sphere(clouds)
    expected = keras_pointpeft.from_adapter(adapter).predict(points, verbose=0)
    found = model.predict(points, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for number, cloud in enumerate(points):
        np.save(tmp_path / f"{number}.npy", cloud)
    paths = [tmp_path / "0.npy", tmp_path / "1.npy"]
    rows = keras_pointpeft.predict_files(model, paths)
    assert [row.name for row in rows] == [str(i) for i in found.argmax(-1)]


def test_scenes_get_a_label_for_every_point(tmp_path):
    laspy = pytest.importorskip("laspy")
    model = models.SemanticSegmenter(
        small_backbone(use_class_token=False, depth=12),
        num_classes=2,
        propagation_dims=(16,),
        head_dims=(16,),
    )
    model.contract = data.Contract(
        part_names=("ground", "tree"),
        num_points=128,
        column_size=2.0,
        normalization="columns",
    )
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 5, (700, 3))
    scan = laspy.create(point_format=0)
    scan.header.scales = [1e-3] * 3
    scan.x, scan.y, scan.z = points.T
    scan.write(tmp_path / "plot.las")
    (row,) = keras_pointpeft.predict_files(
        model,
        tmp_path / "plot.las",
        tmp_path / "found.csv",
        tmp_path / "labelled",
    )
    assert row.labels.shape == (700,) and row.name in ("ground", "tree")
    written = laspy.read(row.written)
    np.testing.assert_array_equal(written["label"], row.labels)
    # Columns as wide as in training, unless another width is asked for.
    np.testing.assert_array_equal(
        model.predict_room(written.xyz, column_size=2.0, stride=1.0),
        model.predict_room(written.xyz),
    )
    with pytest.warns(UserWarning, match="column_size=2.0"):
        model.predict_room(written.xyz, column_size=1.0)


@pytest.fixture
def parted():
    """A segmenter of parts by height: what is up decides."""
    model = models.PartSegmenter(
        small_backbone(use_class_token=False, depth=12),
        num_classes=2,
        num_categories=1,
        category_parts=((0, 1),),
        head_dims=(16,),
    )
    model.contract = data.Contract(
        class_names=("cup",),
        part_names=("lower", "upper"),
        num_points=128,
        normalization="unit_sphere",
        up_axis="z",
    )

    def predict_parts(points, category, batch_size):
        return (np.asarray(points)[..., 1] > 0).astype("int32")

    model.predict_parts = predict_parts
    return model


def test_parts_get_labels_as_the_model_knows_up(parted, tmp_path):
    points = np.random.default_rng(0).normal(size=(700, 3)) + PLACE
    for place in ("a", "b"):
        (tmp_path / "new" / place).mkdir(parents=True)
        np.save(tmp_path / "new" / place / "scan.npy", points)
    rows = keras_pointpeft.predict_files(
        parted, tmp_path / "new", None, tmp_path / "out", votes=3
    )
    # z is up in files, as in those of training.
    upper = points[:, 2] > points[:, 2].mean()
    for row in rows:
        assert np.mean(row.labels == upper) > 0.95
        np.testing.assert_array_equal(np.load(row.written)[:, 3], row.labels)
    # Of two files of one name, none is lost.
    written = [tmp_path / "out" / place / "scan.npy" for place in ("a", "b")]
    assert [row.written for row in rows] == [str(path) for path in written]
    found = parted.contract.told(up_axis="y")
    parted.contract = found
    (row,) = keras_pointpeft.predict_files(
        parted, tmp_path / "new" / "a" / "scan.npy"
    )
    assert np.mean(row.labels == upper) < 0.7


def test_parts_of_raw_numbers_are_written_as_ply(parted, tmp_path):
    parted.contract = parted.contract.told(bin_columns=4)
    rows = np.random.default_rng(0).normal(size=(700, 4)).astype("<f4")
    rows.tofile(tmp_path / "scan.bin")
    (row,) = keras_pointpeft.predict_files(
        parted, tmp_path / "scan.bin", labelled=tmp_path / "out"
    )
    written = data.read_content(row.written)
    np.testing.assert_array_equal(written.points, rows[:, :3])
    np.testing.assert_array_equal(written.labels, row.labels)


def test_nothing_is_predicted_that_could_not_be_written(parted, tmp_path):
    for name in ("scan.ply", "scan.off"):  # which becomes a .ply, too
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="of two files would be written"):
        keras_pointpeft.predict_files(
            parted, tmp_path, labelled=tmp_path / "out"
        )
    with pytest.raises(ValueError, match="to another folder"):
        keras_pointpeft.predict_files(
            parted, tmp_path / "scan.ply", labelled=tmp_path
        )
    with pytest.raises(ValueError, match="the CSV file to write"):
        keras_pointpeft.predict_files(parted, tmp_path, output=tmp_path)


def test_files_that_do_not_say_what_they_hold(adapter, tmp_path):
    """KITTI's .bin, read as in training."""
    model = keras_pointpeft.from_adapter(adapter)
    model.contract = model.contract.told(bin_columns=4)
    cloud = scans(1, points=300)[0].astype("float32")
    np.column_stack((cloud, np.ones(300, "float32"))).tofile(
        tmp_path / "0.bin"
    )
    np.save(tmp_path / "0.npy", cloud)
    first, second = keras_pointpeft.predict_files(model, tmp_path)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)
