import pickle

import h5py
import numpy as np
import pytest

from keras_pointpeft import data

from .conftest import make_clouds
from .conftest import write_h5

pytestmark = pytest.mark.once


def normalized(cloud):
    """The definition, cloud by cloud, in float64."""
    cloud = np.asarray(cloud, "float64")[:, :3]
    cloud = cloud - cloud.mean(axis=0)
    return cloud / np.sqrt((cloud**2).sum(axis=1)).max()


def test_dat(modelnet_dat):
    split = data.load("modelnet40", modelnet_dat, split="train")
    with open(modelnet_dat / "modelnet40_train_8192pts_fps.dat", "rb") as file:
        clouds, labels = pickle.load(file)
    assert split.points.shape == (8, 64, 3)
    for got, cloud in zip(split.points, clouds):
        np.testing.assert_allclose(got, normalized(cloud), atol=1e-6)
    assert split.labels.tolist() == [int(label[0]) for label in labels]
    assert split.class_names[0] == "airplane"
    assert split.class_names[39] == "xbox"


def test_first_points_after_normalization(modelnet_dat):
    whole = data.load_modelnet(modelnet_dat, "test")
    part = data.load_modelnet(modelnet_dat, "test", num_points=16)
    np.testing.assert_array_equal(part.points, whole.points[:, :16])


def test_h5(modelnet_h5):
    split = data.load_modelnet(modelnet_h5, "train", normalize=False)
    assert split.labels.tolist() == list(range(12))
    expected = np.concatenate([make_clouds(6, seed=0), make_clouds(6, seed=1)])
    np.testing.assert_array_equal(split.points, expected)
    assert split.ids[6] == "ply_data_train1/0"
    (modelnet_h5 / "train_files.txt").unlink()
    again = data.load_modelnet(modelnet_h5, "train", normalize=False)
    np.testing.assert_array_equal(again.points, split.points)


def test_h5_listed_file_missing(modelnet_h5):
    (modelnet_h5 / "ply_data_train1.h5").unlink()
    with pytest.raises(FileNotFoundError, match="ply_data_train1.h5"):
        data.load_modelnet(modelnet_h5, "train")


def test_txt(modelnet_txt):
    split = data.load_modelnet(modelnet_txt, "train", normalize=False)
    assert split.ids[2] == "dresser_0001".replace("dresser", "flower_pot")
    assert split.labels.tolist() == [14, 14, 15, 15, 16, 16, 17, 17]
    path = modelnet_txt / "glass_box" / "glass_box_0002.txt"
    rows = np.loadtxt(path, delimiter=",")[:, :3]
    np.testing.assert_allclose(split.points[5], rows, rtol=1e-6)
    scaled = data.load_modelnet(modelnet_txt, "test", layout="txt")
    np.testing.assert_allclose(
        np.linalg.norm(scaled.points, axis=-1).max(axis=1), 1, rtol=1e-6
    )


def test_modelnet10(modelnet_txt, tmp_path):
    with pytest.raises(FileNotFoundError, match="modelnet10_train"):
        data.load("modelnet10", modelnet_txt)
    clouds = [np.ones((4, 6)) * np.arange(4)[:, None] for _ in range(2)]
    path = modelnet_txt / "modelnet10_train_8192pts_fps.dat"
    path.write_bytes(pickle.dumps([clouds, [np.array([9])] * 2]))
    split = data.load("modelnet10", modelnet_txt)
    assert split.class_names[split.labels[0]] == "toilet"


def test_missing_folder_names_all_layouts(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        data.load_modelnet(tmp_path / "nowhere", "test")
    for text in ("_test_*pts*.dat", "ply_data_test*.h5", "modelnet40_test.txt"):
        assert text in str(error.value)
    with pytest.raises(FileNotFoundError, match="ply_data"):
        data.load_modelnet(tmp_path, layout="h5")


def rewrite(root, clouds, labels):
    path = root / "modelnet40_train_8192pts_fps.dat"
    path.write_bytes(pickle.dumps([clouds, labels]))


def test_ragged_clouds(modelnet_dat):
    clouds = [np.random.default_rng(0).normal(size=(n, 6)) for n in (9, 9, 7)]
    rewrite(modelnet_dat, clouds, [1, 2, 3])
    with pytest.raises(ValueError, match="1 of 3 .*train_00002: 7 points"):
        data.load_modelnet(modelnet_dat)
    with pytest.warns(UserWarning, match="7 points instead of as most have"):
        split = data.load_modelnet(modelnet_dat, on_bad="skip")
    assert split.labels.tolist() == [1, 2]
    assert len(data.load_modelnet(modelnet_dat, num_points=7)) == 3


def test_bad_labels_and_coordinates(modelnet_dat):
    clouds = list(np.random.default_rng(0).normal(size=(4, 9, 6)))
    clouds[3][2, 1] = np.nan
    rewrite(modelnet_dat, clouds, [1, 40, 3, 4])
    with pytest.raises(ValueError, match="train_00001: label 40"):
        data.load_modelnet(modelnet_dat)
    with pytest.warns(UserWarning, match="train_00003: .* NaN"):
        split = data.load_modelnet(modelnet_dat, on_bad="skip")
    assert split.ids == ("train_00000", "train_00002")
    assert split.labels.tolist() == [1, 3]


@pytest.mark.parametrize(
    "clouds, labels",
    [
        ([np.zeros((4, 6))], [1, 2]),
        ([np.zeros((4, 6))], [1.5]),
        ([np.zeros((4, 6))], [np.array([1, 2])]),
        ([np.zeros((4, 2))], [1]),
        ([], []),
        (["text"], [1]),
        (1, 2),
        ({"a": 1}, "b"),
    ],
)
def test_wrong_content(modelnet_dat, clouds, labels):
    rewrite(modelnet_dat, clouds, labels)
    with pytest.raises(ValueError, match="Received"):
        data.load_modelnet(modelnet_dat)


def test_one_list_only(modelnet_dat):
    path = modelnet_dat / "modelnet40_train_8192pts_fps.dat"
    path.write_bytes(pickle.dumps({"points": 1}))
    with pytest.raises(ValueError, match="two lists"):
        data.load_modelnet(modelnet_dat)


def test_code_in_a_dat_is_not_run(modelnet_dat):
    made = modelnet_dat / "made"

    class Runs:
        def __reduce__(self):
            return made.mkdir, ()

    path = modelnet_dat / "modelnet40_train_8192pts_fps.dat"
    path.write_bytes(pickle.dumps([Runs(), []]))
    with pytest.raises(pickle.UnpicklingError, match="Received"):
        data.load_modelnet(modelnet_dat)
    assert not made.exists()


@pytest.mark.parametrize("text", ["", "1,2\n3,4\n", "1,2,x,0,0,0\n"])
def test_wrong_text(modelnet_txt, text):
    path = modelnet_txt / "dresser" / "dresser_0001.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="dresser_0001.txt"):
        data.load_modelnet(modelnet_txt)


@pytest.mark.parametrize("shape", ["boat_0001", "../dresser_0001", "dresser"])
def test_wrong_list(modelnet_txt, shape):
    listing = modelnet_txt / "modelnet40_train.txt"
    listing.write_text(f"{shape}\n")
    with pytest.raises((ValueError, FileNotFoundError)):
        data.load_modelnet(modelnet_txt)


def test_truncated_h5(modelnet_h5):
    path = modelnet_h5 / "ply_data_test0.h5"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match="ply_data_test0.h5"):
        data.load_modelnet(modelnet_h5, "test")


def test_h5_with_too_few_labels(modelnet_h5):
    write_h5(modelnet_h5 / "ply_data_test0.h5", make_clouds(3), [0, 1])
    with pytest.raises(ValueError, match="one entry for each"):
        data.load_modelnet(modelnet_h5, "test")


def test_h5_without_labels(modelnet_h5):
    with h5py.File(modelnet_h5 / "ply_data_test0.h5", "a") as file:
        del file["label"]
    with pytest.raises(ValueError, match="no data set 'label'"):
        data.load_modelnet(modelnet_h5, "test")
