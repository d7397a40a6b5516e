import keras
import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft.data.columns import columns
from keras_pointpeft.data.room_dataset import RoomDataset
from keras_pointpeft.data.room_dataset import predict_room
from keras_pointpeft.data.s3dis import Room
from keras_pointpeft.data.s3dis import cover_room
from keras_pointpeft.data.s3dis import draw_column
from keras_pointpeft.training import confusion_matrix
from keras_pointpeft.training import mean_iou

pytestmark = pytest.mark.once


def make_table(count=3000, seed=0, extent=(3.0, 2.2, 2.5)):
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(0, 1, (count, 3)) * extent
    rgb = rng.integers(0, 256, (count, 3))
    # The label says where: so that mixed-up points are found.
    label = (xyz[:, 2] > 1.2).astype(int) * 2 + (xyz[:, 0] > 1.5)
    return np.c_[xyz, rgb, label].astype("float32")


def make_room(**arguments):
    table = make_table(**arguments)
    return Room(table[:, :3], table[:, 6].astype("int32"), "room")


@pytest.fixture
def rooms_dir(tmp_path):
    for area, room in ((1, "office_1"), (5, "hall_1"), (5, "hall_2"), (6, "x")):
        path = tmp_path / f"Area_{area}_{room}.npy"
        np.save(path, make_table(seed=area))
    return tmp_path


def test_areas(rooms_dir):
    train = data.load("s3dis", rooms_dir, "train")
    assert [room.name for room in train] == ["Area_1_office_1", "Area_6_x"]
    test = data.load_s3dis(rooms_dir, "test")
    assert [room.name for room in test] == ["Area_5_hall_1", "Area_5_hall_2"]
    table = make_table(seed=1)
    np.testing.assert_array_equal(train[0].points, table[:, :3])
    np.testing.assert_array_equal(train[0].labels, table[:, 6])
    np.testing.assert_array_equal(train[0].colors, table[:, 3:6])
    assert len(data.load_s3dis(rooms_dir, "test", test_area=6)) == 1


def test_area_10_is_not_area_1(rooms_dir):
    np.save(rooms_dir / "Area_10_x.npy", make_table())
    assert len(data.load_s3dis(rooms_dir, "test", test_area=1)) == 1


def test_missing_rooms(tmp_path, rooms_dir):
    with pytest.raises(FileNotFoundError, match="Area_<n>_<room>.npy"):
        data.load_s3dis(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="Received: 4 rooms"):
        data.load_s3dis(rooms_dir, "test", test_area=3)


@pytest.mark.parametrize(
    "row, column, value, reason",
    [
        (3, 1, np.nan, "1 points with NaN"),
        (4, 6, 13, "1 labels outside"),
        (4, 6, np.nan, "1 labels outside"),
    ],
)
def test_bad_rooms(rooms_dir, row, column, value, reason):
    table = make_table()
    table[row, column] = value
    np.save(rooms_dir / "Area_5_hall_2.npy", table)
    with pytest.raises(ValueError, match=f"Area_5_hall_2: {reason}"):
        data.load_s3dis(rooms_dir, "test")
    with pytest.warns(UserWarning, match="1 of 2"):
        assert len(data.load_s3dis(rooms_dir, "test", on_bad="skip")) == 1


@pytest.mark.parametrize("table", [np.zeros((4, 6)), np.zeros((0, 7)), "text"])
def test_wrong_files(rooms_dir, table):
    np.save(rooms_dir / "Area_5_hall_2.npy", np.array(table))
    with pytest.raises(ValueError, match="Area_5_hall_2.npy"):
        data.load_s3dis(rooms_dir, "test")


def test_truncated_room(rooms_dir):
    path = rooms_dir / "Area_5_hall_2.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="Area_5_hall_2.npy"):
        data.load_s3dis(rooms_dir, "test")
    with pytest.warns(UserWarning, match="1 of 2 .*Area_5_hall_2.npy"):
        assert len(data.load_s3dis(rooms_dir, "test", on_bad="skip")) == 1


def test_column():
    room = make_room()
    points, labels = draw_column(
        room, 128, np.random.default_rng(0), min_points=200
    )
    assert points.shape == (128, 3) and labels.shape == (128,)
    assert np.abs(points[:, :2]).max() <= 0.5 + 1e-5
    heights = {
        float(z): label for z, label in zip(room.local[:, 2], room.labels)
    }
    for point, label in zip(points, labels):
        assert heights[float(point[2])] == label
    assert len(np.unique(points, axis=0)) == 128
    with pytest.raises(ValueError, match="column_min_points=3000"):
        draw_column(room, 128, np.random.default_rng(0), min_points=3000)


@pytest.mark.parametrize("stride", [0.3, 0.5, 1.0])
def test_cover_holds_every_point(stride):
    room = make_room()
    points, indices = cover_room(
        room, 100, np.random.default_rng(0), stride=stride
    )
    assert points.shape == (*indices.shape, 3)
    assert set(indices.ravel()) == set(range(len(room.points)))
    assert np.abs(points[..., :2]).max() <= 0.5 + 2e-3
    np.testing.assert_array_equal(points[..., 2], room.local[indices][..., 2])
    offset = room.local[indices][..., :2] - points[..., :2]
    assert np.ptp(offset, axis=1).max() < 1e-5
    with pytest.raises(ValueError, match="stride"):
        cover_room(room, 100, np.random.default_rng(0), stride=1.5)


def test_cover_of_a_room_smaller_than_a_column():
    room = make_room(count=30, extent=(0.2, 0.1, 1))
    _, indices = cover_room(room, 100, np.random.default_rng(0))
    assert set(indices.ravel()) == set(range(30))


def test_batches_depend_on_seed_epoch_and_index_alone():
    def make(**arguments):
        return RoomDataset(
            [make_room(), make_room(count=6000, seed=1)],
            batch_size=4,
            num_points=64,
            column_min_points=200,
            augmentation="scale_translate",
            **arguments,
        )

    dataset = make()
    assert len(dataset) == -(-9000 // 256)
    points, labels = dataset[3]
    assert points.shape == (4, 64, 3) and labels.shape == (4, 64)
    other = make()
    other[0]
    np.testing.assert_array_equal(other[3][0], points)
    other.epoch = 1
    assert np.abs(other[3][0] - points).max() > 0.01
    assert np.abs(make(seed=1)[3][0] - points).max() > 0.01
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    with pytest.raises(ValueError, match="rooms"):
        RoomDataset([])


def test_a_model_learns_height_and_is_evaluated_on_the_room():
    keras.utils.set_random_seed(0)
    room = make_room()
    low_or_high = Room(room.points, room.labels // 2, "room")
    dataset = RoomDataset(
        [low_or_high],
        batch_size=8,
        num_points=64,
        steps=10,
        column_min_points=200,
    )
    model = keras.Sequential(
        [
            keras.Input((64, 3)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    model.fit(dataset, epochs=3, shuffle=False, verbose=0)
    assert dataset.epoch == 3
    predicted = predict_room(
        model.predict_on_batch, low_or_high, 2, num_points=64
    )
    matrix = confusion_matrix(low_or_high.labels, predicted, 2)
    assert predicted.shape == (3000,) and mean_iou(matrix) > 0.8
    with pytest.raises(ValueError, match="scores"):
        predict_room(model.predict_on_batch, room, 3, num_points=64)


def test_votes_reach_every_point():
    room = make_room()

    def by_height(points):
        high = points[..., 2] > 1.2
        return np.stack([~high, high], axis=-1).astype("float32")

    predicted = predict_room(by_height, room, 2, num_points=64)
    np.testing.assert_array_equal(predicted, room.local[:, 2] > 1.2)


def test_scenes_with_classes_of_a_scanner(tmp_path):
    laspy = pytest.importorskip("laspy")
    table = make_table()
    scan = laspy.create(point_format=3, file_version="1.2")
    scan.header.scales = [0.001] * 3
    scan.header.offsets = [448262, 5411932, 352]
    corner = np.array([448262, 5411932, 352])
    scan.x, scan.y, scan.z = (table[:, :3].astype("f8") + corner).T
    scan.classification = table[:, 6].astype("uint8")
    scan.write(str(tmp_path / "Area_5_plot.las"))
    (room,) = data.load_s3dis(tmp_path, "test", class_names=list("abcd"))
    np.testing.assert_array_equal(room.labels, table[:, 6])
    local = table[:, :3] - table[:, :3].min(axis=0)
    np.testing.assert_allclose(room.local, local, atol=2e-3)
    np.save(tmp_path / "Area_5_other.npy", table)
    np.savetxt(tmp_path / "Area_5_text.xyz", table)
    with pytest.raises(ValueError, match="must have a label"):
        data.load_s3dis(tmp_path, "test", class_names=list("abcd"))


def test_points_without_a_label(rooms_dir):
    table = make_table()
    table[:10, 6] = -1
    table[10:20, 6] = 255
    np.save(rooms_dir / "Area_5_hall_2.npy", table)
    room = data.load_s3dis(rooms_dir, "test")[1]
    assert (room.labels[:20] == -1).all() and (room.labels[20:] >= 0).all()
    confusion = confusion_matrix(room.labels, np.maximum(room.labels, 0), 4)
    assert confusion.sum() == 2980 and mean_iou(confusion) == 1


def test_sparse_columns_are_merged_with_what_is_around():
    rng = np.random.default_rng(0)
    dense = rng.uniform(0, (4, 4, 2), (4000, 3))
    alone = rng.uniform(0, (2, 2, 2), (30, 3)) + (5, 1, 0)
    points = np.vstack([dense, alone])
    room = Room(points, np.zeros(len(points), int), "room")
    found = np.zeros(len(points), int)
    for blocks, indices, own in columns(room, 256, rng):
        assert blocks.shape == (*indices.shape, 3) == (*own.shape, 3)
        within = np.abs(blocks[own][:, :2]).max()
        assert within <= 0.5 + 2e-3
        np.add.at(found, indices[own], 1)
        # 16 or more different points, unless there are none around.
        assert len(np.unique(indices)) >= 16
    assert found.min() >= 1


def test_scenes_are_walked_through_without_being_copied():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, (60, 60, 5), (50000, 3))
    room = Room(points, np.zeros(len(points), int), "plot")
    walk = columns(room, 512, rng, 10.0, 5.0)
    blocks, _, _ = next(walk)
    assert len(blocks) < 10  # one column, not the scene


def test_channels_of_rooms(rooms_dir):
    """Colours go with their points, into columns and predictions."""
    rooms = data.load_s3dis(rooms_dir, "train", channels=("colors",))
    table = make_table(seed=1)
    np.testing.assert_allclose(
        rooms[0].channels, table[:, 3:6] / 255, atol=1e-6
    )
    options = {"num_points": 100, "column_min_points": 100, "batch_size": 3}
    plain = data.load_s3dis(rooms_dir, "train")
    augmented = {**options, "augmentation": "scale_translate"}
    for arguments in (options, augmented):
        points, labels = RoomDataset(rooms, **arguments)[0]
        expected, same = RoomDataset(plain, **arguments)[0]
        assert points.shape == (3, 100, 6) and points.dtype == "float32"
        np.testing.assert_array_equal(points[..., :3], expected)
        np.testing.assert_array_equal(labels, same)
        for row in points[..., 3:].reshape(-1, 3)[::50]:
            near = [np.abs(room.channels - row).max(axis=1) for room in rooms]
            assert np.concatenate(near).min() == 0

    def red(batch):
        return np.stack([0.5 - batch[..., 3], batch[..., 3] - 0.5], axis=-1)

    found = predict_room(red, rooms[0], 2, num_points=100)
    np.testing.assert_array_equal(found, rooms[0].channels[:, 0] > 0.5)
    with pytest.raises(ValueError, match="Area_1_office_1.*have no normals"):
        data.load_s3dis(rooms_dir, "train", channels=("normals",))
    with pytest.raises(ValueError, match="office_1 with 3, Area_6_x with 0"):
        RoomDataset([rooms[0], plain[1]])
    with pytest.raises(ValueError, match="must have the shape"):
        Room(table[:, :3], table[:, 6].astype(int), "r", channels=table[:5])
