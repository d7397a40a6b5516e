"""The same cloud elsewhere, or in another unit, is the same model input."""

import json
import pickle

import h5py
import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft import ops
from keras_pointpeft.data import augmentation
from keras_pointpeft.data.clouds import turned
from keras_pointpeft.data.rooms import Room

pytestmark = pytest.mark.once

CLOUDS = np.random.default_rng(0).normal(0, 0.4, (4, 300, 3)).round(4)
SCENE = np.random.default_rng(1).uniform(0, (6, 5, 3), (4000, 3)).round(3)

# Each moves clouds `(..., points, 3)` without changing their shape.
MOVES = {
    "map": lambda x: x + (4e5, 5.4e6, 352.0),
    "sea": lambda x: x + (0, 0, 352.0),
    "millimetres": lambda x: x * 1000,
    "map_millimetres": lambda x: (x + (4e5, 5.4e6, 352.0)) * 1000,
    "degrees": lambda x: x / 111320 + (8.5, 47.3, 0),
}
# Longitude and latitude beside metres: no turning makes a shape of it.
MIXED = (1 / 111320, 1 / 111320, 1), (8.5, 47.3, 400)


def to_folder(clouds, folder):
    (folder / "mug").mkdir()
    for number, cloud in enumerate(clouds):
        np.save(folder / "mug" / f"{number}.npy", cloud)
    return data.load_folder(folder, None, num_points=200).points


def to_text(clouds, folder):
    (folder / "mug").mkdir()
    for number, cloud in enumerate(clouds):
        np.savetxt(folder / "mug" / f"{number}.xyz", cloud, "%.12f")
    return data.load_folder(folder, None, num_points=200).points


def to_meshes(clouds, folder):
    (folder / "mug").mkdir()
    for number, cloud in enumerate(clouds):
        text = "".join("v %.12f %.12f %.12f\n" % tuple(v) for v in cloud)
        text += "".join(f"f {i} {i + 1} {i + 2}\n" for i in range(1, 298))
        (folder / "mug" / f"{number}.obj").write_text(text)
    return data.load_folder(folder, None, num_points=200).points


def to_h5(clouds, folder):
    with h5py.File(folder / "train.h5", "w") as file:
        file["data"] = clouds
        file["label"] = np.arange(len(clouds)) % 2
    return data.load_h5(folder, normalize=True).points


def to_h5_by_default(clouds, folder):
    with h5py.File(folder / "train.h5", "w") as file:
        file["data"] = clouds
        file["label"] = np.arange(len(clouds)) % 2
    with pytest.warns(UserWarning, match="unit sphere"):
        return data.load("h5", folder, split="train").points


def to_shapenet55(clouds, folder):
    (folder / "ShapeNet-55").mkdir()
    (folder / "shapenet_pc").mkdir()
    names = [f"02-{n}.npy" for n in range(len(clouds))]
    (folder / "ShapeNet-55" / "train.txt").write_text("\n".join(names))
    for name, cloud in zip(names, clouds):
        np.save(folder / "shapenet_pc" / name, cloud)
    return data.load_shapenet55(folder, num_points=128).points


def to_drawn_h5(clouds, folder):
    with h5py.File(folder / "train.h5", "w") as file:
        file["data"] = clouds
        file["label"] = np.arange(len(clouds)) % 2
    return data.load_h5(folder, normalize=True, num_points=200).points


def to_shapenetpart(clouds, folder):
    lists, shapes = folder / "train_test_split", folder / "02691156"
    lists.mkdir()
    shapes.mkdir()
    (folder / "synsetoffset2category.txt").write_text("Airplane\t02691156\n")
    names = []
    for number, cloud in enumerate(clouds):
        rows = np.c_[cloud, np.zeros((len(cloud), 4))]
        np.savetxt(shapes / f"{number}.txt", rows, "%.12f")
        names.append(f"shape_data/02691156/{number}")
    path = lists / "shuffled_test_file_list.json"
    path.write_text(json.dumps(names))
    return data.load_shapenetpart(folder, "test", num_points=128).points


def to_few_shot(clouds, folder):
    rows = [(cloud, number) for number, cloud in enumerate(clouds)]
    (folder / "5way_10shot").mkdir()
    with open(folder / "5way_10shot" / "0.pkl", "wb") as file:
        pickle.dump({"train": rows, "test": rows}, file)
    return data.load_few_shot(folder)[0].points


def to_prediction(clouds, folder):
    told = data.Contract(num_points=200, normalization="unit_sphere")
    return told.prepare(clouds)


def to_batches(clouds, folder):
    return data.PointCloudDataset(
        clouds, normalize=True, sampling="first", num_points=200
    )[0][0]


def to_split(clouds, folder):
    split = data.Split(clouds, [0, 0, 1, 1], ("a", "b"))
    return data.unit_sphere(split.points)


def to_samples(clouds, folder):
    return data.unit_sphere(data.sample_points(clouds, 200, "first"))


def to_augmented(clouds, folder):
    rng = np.random.default_rng(0)
    return augmentation.get("scale_translate")(clouds, rng)


def to_validated(clouds, folder):
    return ops.validate_points(clouds, largest=100)


def to_farthest_points(clouds, folder):
    return ops.farthest_point_sample(clouds, 20)


def to_neighbors(clouds, folder):
    return ops.knn(clouds[:, :8], clouds, 4)


def to_batches_as_they_are(clouds, folder):
    return ops.validate_points(data.PointCloudDataset(clouds)[0][0], 100)


NORMALIZED = (
    to_folder,
    to_text,
    to_meshes,
    to_h5,
    to_h5_by_default,
    to_shapenet55,
    to_drawn_h5,
    to_shapenetpart,
    to_few_shot,
    to_prediction,
    to_batches,
    to_split,
    to_samples,
    lambda clouds, folder: data.unit_sphere(clouds),
)
AS_THEY_ARE = (
    to_augmented,
    to_farthest_points,
    to_neighbors,
    to_validated,
    to_batches_as_they_are,
)


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("entry", NORMALIZED)
def test_a_moved_cloud_is_the_same_input(tmp_path, entry, move):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here = entry(CLOUDS, tmp_path / "here")
    there = entry(MOVES[move](CLOUDS), tmp_path / "there")
    assert there.dtype == "float32"
    # Degrees have 14 digits, of which a cloud of a metre takes the last nine.
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-5)


@pytest.mark.parametrize("move", ["map", "millimetres", "map_millimetres"])
@pytest.mark.parametrize("entry", AS_THEY_ARE)
def test_what_is_not_centred_is_refused(tmp_path, entry, move):
    entry(CLOUDS, tmp_path)
    if move == "millimetres" and entry in AS_THEY_ARE[:3]:
        return  # what scale makes sense is for the model to say
    with pytest.raises(ValueError, match="unit_sphere") as error:
        entry(MOVES[move](CLOUDS), tmp_path)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("entry", NORMALIZED)
def test_degrees_beside_metres_are_refused(tmp_path, entry):
    scale, corner = MIXED
    with pytest.raises(ValueError, match="degrees"):
        entry(CLOUDS * scale + corner, tmp_path)


def test_float32_that_was_cut_is_refused(tmp_path):
    far = MOVES["map"](CLOUDS).astype("float32")
    with pytest.raises(ValueError, match="float64"):
        data.unit_sphere(far)
    with pytest.raises(ValueError, match="float64"):
        data.PointCloudDataset(far, normalize=True)[0]
    with pytest.raises(ValueError, match="float64"):
        Room(far[0], np.zeros(300, int), "plot").local


def test_farthest_points_do_not_depend_on_the_place():
    grid = np.stack(np.meshgrid(*[np.arange(6) * 0.1] * 3), -1).reshape(-1, 3)
    clouds = np.stack([grid, CLOUDS[0][:216]])
    here = data.sample_points(clouds, 20, "fps")
    there = data.sample_points(MOVES["map"](clouds), 20, "fps")
    np.testing.assert_allclose(there, MOVES["map"](here), rtol=0, atol=1e-8)


def test_nan_beside_map_coordinates(tmp_path):
    far = MOVES["map"](CLOUDS[0])
    far[7] = np.nan
    np.save(tmp_path / "a.npy", far)
    points = data.read_cloud(tmp_path / "a.npy")
    np.testing.assert_array_equal(points, far)
    with pytest.raises(ValueError, match="1 such points"):
        data.unit_sphere(points)


def rooms(points, folder):
    rows = np.c_[points, np.zeros((len(points), 3)), np.arange(len(points)) % 3]
    np.save(folder / "Area_1_a.npy", rows)
    room = data.load_s3dis(folder, "train")
    return data.RoomDataset(room, 2, 256, column_min_points=50, steps=2)[1]


@pytest.mark.parametrize("move", ["map", "sea"])
def test_a_moved_scene_is_the_same_input(tmp_path, move):
    here, labels = rooms(SCENE, tmp_path)
    there, same = rooms(MOVES[move](SCENE), tmp_path)
    np.testing.assert_array_equal(same, labels)
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-5)


COLORS = np.random.default_rng(2).integers(0, 256, SCENE.shape, "uint8")
BESIDE = {
    "colors": COLORS[:300],
    "normals": data.unit_sphere(CLOUDS)[0],
    "intensity": np.arange(300.0),
}


def folder_with_channels(cloud, folder, **options):
    (folder / "mug").mkdir()
    np.savez(folder / "mug" / "a.npz", points=cloud, **BESIDE)
    split = data.load_folder(
        folder, None, 200, channels=tuple(BESIDE), **options
    )
    return split.points, split.channels


def h5_with_channels(cloud, folder, **options):
    with h5py.File(folder / "train.h5", "w") as file:
        file["data"], file["label"] = cloud[None], [0]
        for name, rows in BESIDE.items():
            file[name] = rows[None]
    split = data.load_h5(
        folder, normalize=True, num_points=200, channels=tuple(BESIDE)
    )
    return split.points, split.channels


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("entry", [folder_with_channels, h5_with_channels])
def test_channels_do_not_move_with_a_cloud(tmp_path, entry, move):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    points, channels = entry(CLOUDS[0], tmp_path / "here")
    there, same = entry(MOVES[move](CLOUDS[0]), tmp_path / "there")
    np.testing.assert_allclose(there, points, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(same, channels)
    rows = channels[0, :, 6].astype(int)  # which points were drawn
    assert len(set(rows)) == 200
    expected = np.c_[BESIDE["colors"][rows] / 255, BESIDE["normals"][rows]]
    np.testing.assert_allclose(channels[0, :, :6], expected, atol=1e-6)


@pytest.mark.parametrize("up_axis", ["x", "z"])
def test_of_channels_normals_alone_are_turned(tmp_path, up_axis):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    _, channels = folder_with_channels(CLOUDS[0], tmp_path / "here")
    _, found = folder_with_channels(
        CLOUDS[0], tmp_path / "there", up_axis=up_axis
    )
    channels[..., 3:6] = turned(channels[..., 3:6], up_axis)
    np.testing.assert_array_equal(found, channels)


@pytest.mark.parametrize("move", ["map", "sea"])
def test_channels_do_not_move_with_a_scene(tmp_path, move):
    found = []
    for points in (SCENE, MOVES[move](SCENE)):
        rows = np.c_[points, COLORS, np.arange(len(points)) % 3]
        np.save(tmp_path / "Area_1_a.npy", rows)
        (room,) = data.load_s3dis(tmp_path, "train", channels=("colors",))
        np.testing.assert_allclose(room.channels, COLORS / 255, atol=1e-6)
        batches = data.RoomDataset(
            [room], 2, 256, column_min_points=50, steps=2
        )
        found.append(batches[1][0])
    here, there = found
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(there[..., 3:], here[..., 3:])


def by_height(points):
    high = points[..., 2] > 1.2
    return np.stack([~high, high], axis=-1).astype("float32")


@pytest.mark.parametrize("move", ["map", "sea"])
def test_a_moved_scene_is_predicted_alike(move):
    here = data.predict_room(by_height, SCENE, 2, num_points=128)
    there = data.predict_room(by_height, MOVES[move](SCENE), 2, num_points=128)
    np.testing.assert_array_equal(there, here)
    assert 0.3 < here.mean() < 0.7


@pytest.mark.parametrize("move", ["millimetres", "degrees"])
def test_scenes_in_another_unit_are_refused(move):
    scene = MOVES[move](SCENE)
    if move == "degrees":
        scene[:, 2] = SCENE[:, 2]
    with pytest.raises(ValueError, match="metres"):
        data.predict_room(by_height, scene, 2, num_points=128)


def test_ground_is_not_noise_below_it():
    points = np.vstack([SCENE, [[3, 3, -30.0]]])
    local = Room(points, np.zeros(len(points), int), "plot").local
    assert abs(local[:-1, 2].min()) < 0.01 and local[-1, 2] < -29


@pytest.mark.parametrize("up, to", [("z", "y"), ("x", "y"), ("y", "z")])
def test_turned_is_a_rotation(up, to):
    result = turned(CLOUDS[0], up, to)
    axes = "xyz"
    np.testing.assert_array_equal(
        result[:, axes.index(to)], CLOUDS[0][:, axes.index(up)]
    )
    found = np.linalg.lstsq(CLOUDS[0], result, rcond=None)[0]
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-9)
    with pytest.raises(ValueError, match="up_axis"):
        turned(CLOUDS[0], "w")


def test_up_axis_of_files(tmp_path):
    (tmp_path / "mug").mkdir()
    np.save(tmp_path / "mug" / "a.npy", CLOUDS[0])
    found = data.load_folder(
        tmp_path, None, num_points=300, normalize=False, up_axis="z"
    ).points[0]
    expected = CLOUDS[0][:, [0, 2, 1]] * (1, 1, -1)
    np.testing.assert_allclose(
        np.sort(found, axis=0), np.sort(expected, axis=0), atol=1e-6
    )
