import json
import shutil

import h5py
import numpy as np
import pytest

from keras_pointpeft import data

from .conftest import VARIANT_FILES
from .conftest import make_clouds
from .conftest import write_h5

pytestmark = pytest.mark.once


@pytest.mark.parametrize("variant", VARIANT_FILES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_variants_read_their_own_file(scanobjectnn, variant, split):
    loaded = data.load_scanobjectnn(scanobjectnn, variant, split)
    folder, ending = VARIANT_FILES[variant]
    prefix = {"train": "training", "test": "test"}[split]
    with h5py.File(scanobjectnn / folder / f"{prefix}_{ending}") as file:
        np.testing.assert_array_equal(loaded.points, file["data"][()])
        np.testing.assert_array_equal(loaded.labels, file["label"][()])
    assert loaded.num_classes == 15
    assert loaded.class_names[0] == "bag"
    assert loaded.class_names[14] == "toilet"


def test_parent_and_split_folder_are_found(scanobjectnn):
    inside = data.load_scanobjectnn(scanobjectnn / "main_split", "objbg")
    outside = data.load_scanobjectnn(scanobjectnn.parent, "objbg")
    np.testing.assert_array_equal(inside.points, outside.points)


def test_wrong_folder_is_not_taken_for_another_variant(scanobjectnn):
    # OBJ_BG and OBJ_ONLY have the same file names.
    with pytest.raises(FileNotFoundError):
        data.load_scanobjectnn(scanobjectnn / "main_split_nobg", "objbg")


def test_missing_file_names_files_and_variant(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        data.load_scanobjectnn(tmp_path / "nowhere", "objonly", "test")
    text = str(error.value)
    assert "main_split_nobg/test_objectdataset.h5" in text
    assert "OBJ_ONLY" in text
    assert "Received" in text


@pytest.mark.parametrize(
    "name, variant",
    [
        ("scanobjectnn", "hardest"),
        ("scanobjectnn_objbg", "objbg"),
        ("scanobjectnn_objonly", "objonly"),
    ],
)
def test_names_of_the_registry(scanobjectnn, name, variant):
    named = data.load(name, scanobjectnn, split="test")
    direct = data.load_scanobjectnn(scanobjectnn, variant, "test")
    np.testing.assert_array_equal(named.points, direct.points)


@pytest.mark.parametrize(
    "arguments", [{"variant": "easy"}, {"split": "val"}, {"on_bad": "hide"}]
)
def test_arguments_are_checked(scanobjectnn, arguments):
    with pytest.raises(ValueError, match="must be one of"):
        data.load_scanobjectnn(scanobjectnn, **arguments)


def make_own(folder, name="training_objectdataset.h5", names=("a", "b")):
    path = write_h5(
        folder / name,
        make_clouds(6),
        np.arange(6) % 2,
        id=np.array([f"x{i}" for i in range(6)], "S4"),
        pid=np.zeros((6, 64), "uint8"),
    )
    with h5py.File(path, "a") as file:
        file.attrs["class_names"] = json.dumps(names)
    return path


def test_own_classes(tmp_path):
    path = make_own(tmp_path)
    split = data.load("h5", tmp_path)
    assert split.class_names == ("a", "b")
    assert split.ids == tuple(f"x{i}" for i in range(6))
    assert split.part_labels.shape == (6, 64)
    assert data.load_h5(path).ids == split.ids
    assert data.load_h5(path, class_names=["u", "v"]).class_names[0] == "u"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_short_file_names(tmp_path, split):
    make_own(tmp_path, f"{split}.h5")
    assert len(data.load_h5(tmp_path, split)) == 6


def test_classes_without_names_are_numbered(tmp_path):
    path = write_h5(tmp_path / "train.h5", make_clouds(3), [0, 2, 1])
    assert data.load_h5(path).class_names == ("0", "1", "2")


def test_strings_of_any_length(tmp_path):
    ids = np.array(["long name", "b"], object)
    path = write_h5(tmp_path / "train.h5", make_clouds(2), [0, 0], id=ids)
    assert data.load_h5(path).ids == ("long name", "b")


def test_truncated_file(scanobjectnn, tmp_path):
    path = scanobjectnn / "main_split" / "training_objectdataset.h5"
    content = path.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="training_objectdataset.h5"):
            data.load_scanobjectnn(scanobjectnn, "objbg")


def test_damaged_chunk(tmp_path):
    path = tmp_path / "train.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=make_clouds(40), compression="gzip")
        file["label"] = np.zeros(40, int)
        place = file["data"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        data.load_h5(path)


@pytest.mark.parametrize("missing", ["data", "label"])
def test_missing_key(tmp_path, missing):
    path = write_h5(tmp_path / "train.h5", make_clouds(2), [0, 0])
    with h5py.File(path, "a") as file:
        del file[missing]
    with pytest.raises(ValueError, match=f"no data set '{missing}'"):
        data.load_h5(path)


@pytest.mark.parametrize(
    "points, labels, text",
    [
        (make_clouds(4)[..., :2], [0] * 4, "shape"),
        (make_clouds(4)[0], [0] * 4, "shape"),
        (make_clouds(4).astype("S8"), [0] * 4, "type"),
        (make_clouds(4), [0] * 3, "one entry for each"),
        (make_clouds(4), np.zeros((4, 2), int), "one entry for each"),
        (make_clouds(4), np.zeros(4), "type"),
    ],
)
def test_wrong_shapes_and_types(tmp_path, points, labels, text):
    path = write_h5(tmp_path / "train.h5", points, labels)
    with pytest.raises(ValueError, match=text):
        data.load_h5(path)


def test_ragged_clouds(tmp_path):
    path = tmp_path / "train.h5"
    with h5py.File(path, "w") as file:
        kind = h5py.vlen_dtype(np.dtype("float32"))
        ragged = file.create_dataset("data", (2,), kind)
        ragged[0], ragged[1] = np.zeros(6, "f4"), np.zeros(9, "f4")
        file["label"] = [0, 1]
    with pytest.raises(ValueError, match="ragged"):
        data.load_h5(path)


def bad_scanobjectnn(root):
    """Labels out of range, NaN and infinity in clouds 1, 2, 4 and 5."""
    path = root / "main_split" / "training_objectdataset.h5"
    with h5py.File(path, "a") as file:
        file["label"][1], file["label"][2] = 15, -1
        file["data"][4, 7, 0] = np.nan
        file["data"][5, :3, 1] = np.inf


def test_bad_clouds_raise_with_names_and_count(scanobjectnn):
    bad_scanobjectnn(scanobjectnn)
    with pytest.raises(ValueError) as error:
        data.load_scanobjectnn(scanobjectnn, "objbg")
    text = str(error.value)
    assert "4 of 30 clouds" in text
    assert "1: label 15 outside of 0..14" in text
    assert "4: 1 points with NaN" in text
    assert "5: 3 points with NaN" in text


def test_bad_clouds_can_be_skipped(scanobjectnn):
    whole = data.load_scanobjectnn(scanobjectnn, "objbg")
    bad_scanobjectnn(scanobjectnn)
    with pytest.warns(UserWarning, match="4 of 30 clouds"):
        left = data.load_scanobjectnn(scanobjectnn, "objbg", on_bad="skip")
    rest = np.delete(np.arange(30), [1, 2, 4, 5])
    np.testing.assert_array_equal(left.points, whole.points[rest])
    np.testing.assert_array_equal(left.labels, whole.labels[rest])


def test_declared_but_not_stored(tmp_path):
    path = tmp_path / "train.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (10**6, 1024, 3), "f4")
        file["label"] = [0]
    assert path.stat().st_size < 10**5
    with pytest.raises(ValueError, match="stores nothing"):
        data.load_h5(path)
    with pytest.raises(ValueError, match="max_bytes"):
        data.load_h5(path, max_bytes=10**9)


def test_partly_written(tmp_path):
    path = tmp_path / "train.h5"
    with h5py.File(path, "w") as file:
        clouds = file.create_dataset(
            "data", (8, 64, 3), "f4", chunks=(2, 64, 3)
        )
        clouds[:4] = 1
        file["label"] = [0] * 8
    with pytest.raises(ValueError, match="2 of 4 chunks"):
        data.load_h5(path)


def test_implausible_compression(tmp_path):
    path = tmp_path / "train.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "data",
            data=np.zeros((64, 128 * 1024, 3), "f4"),
            chunks=(64, 1024, 3),
            compression="gzip",
        )
        file["label"] = [0] * 64
    with pytest.raises(ValueError, match="implausible"):
        data.load_h5(path)


def test_references_to_other_files_are_refused(scanobjectnn, tmp_path):
    source = scanobjectnn / "main_split" / "test_objectdataset.h5"
    shutil.copy(source, tmp_path / "other.h5")
    path = tmp_path / "train.h5"
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink("other.h5", "data")
        file["label"] = [0]
    with pytest.raises(ValueError, match="no data set 'data'"):
        data.load_h5(path)


def test_points_chosen_as_an_h5_file_is_read(tmp_path):
    clouds = make_clouds(3, 200)
    pid = np.arange(600).reshape(3, 200) % 7
    path = write_h5(tmp_path / "train.h5", clouds, [0, 1, 1], pid=pid)
    whole = data.load_h5(path, normalize=False)
    drawn = data.load_h5(path, normalize=False, num_points=64, seed=3)
    assert drawn.points.shape == (3, 64, 3)
    for cloud, parts, all_points, all_parts in zip(
        drawn.points, drawn.part_labels, whole.points, whole.part_labels
    ):
        near = np.abs(cloud[:, None] - all_points).max(axis=-1)
        rows = near.argmin(axis=1)
        assert len(set(rows.tolist())) == 64
        np.testing.assert_array_equal(cloud, all_points[rows])
        np.testing.assert_array_equal(parts, all_parts[rows])
    other = data.load_h5(path, normalize=True, num_points=64, seed=3)
    np.testing.assert_allclose(
        other.points, data.unit_sphere(drawn.points), atol=1e-6
    )
    # A point that is not drawn counts too.
    with h5py.File(path, "a") as file:
        file["data"][1, :] = np.nan
        file["data"][1, :199] = 0.5
    with pytest.raises(ValueError, match="1 of 3.*1: 1 points with NaN"):
        data.load_h5(path, normalize=False, num_points=8)
    with pytest.raises(ValueError, match="of 200 points.*num_points=201"):
        data.load_h5(path, num_points=201)


@pytest.mark.parametrize("num_points", [None, 16])
def test_channels_in_h5_files(tmp_path, num_points):
    clouds = make_clouds(4, 200)
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, clouds.shape).astype("uint8")
    colors[1] //= 255  # a dark one
    intensity = rng.random(clouds.shape[:2])
    clouds[3, 7] = np.nan
    path = write_h5(
        tmp_path / "a.h5", clouds, [0, 1, 0, 1], rgb=colors, intensity=intensity
    )
    with pytest.warns(UserWarning, match="1 of 4"):
        split = data.load_h5(
            path,
            normalize=False,
            num_points=num_points,
            channels=("colors", "intensity"),
            on_bad="skip",
        )
    assert split.channels.shape == (3, num_points or 200, 4)
    assert split.source["color_range"] == 255
    for cloud, beside, places, *expected in zip(
        split.points, split.channels, clouds, colors, intensity
    ):
        distance = np.abs(cloud[:, None] - places).max(axis=-1)
        rows = distance.argmin(axis=1)
        assert distance.min(axis=1).max() == 0
        expected = np.c_[expected[0][rows] / 255, expected[1][rows]]
        np.testing.assert_allclose(beside, expected, atol=1e-6)
    with pytest.raises(ValueError, match="no normals, a data set normals or"):
        data.load_h5(path, normalize=False, channels=("normals",))
    with pytest.raises(ValueError, match="`channels` must be"):
        data.load_h5(path, channels=("taste",))


@pytest.mark.parametrize("num_points", [None, 16])
def test_the_brightest_colour_of_an_h5_file(tmp_path, num_points):
    """It decides of all clouds, drawn or not, that can be used."""
    clouds = make_clouds(4, 200)
    colors = np.full(clouds.shape, 0.5)
    colors[1, 7] = 200.0  # is not drawn
    colors[2] = 60000.0
    clouds[2, 0] = np.nan
    path = write_h5(tmp_path / "a.h5", clouds, [0, 1, 0, 1], rgb=colors)
    with pytest.warns(UserWarning, match="1 of 4"):
        split = data.load_h5(
            path,
            normalize=False,
            num_points=num_points,
            channels=("colors",),
            on_bad="skip",
        )
    brightest = 200.0 if num_points is None else 0.5
    assert split.source["color_range"] == 255
    np.testing.assert_allclose(split.channels.max(), brightest / 255)
