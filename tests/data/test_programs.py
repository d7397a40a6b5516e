"""Random programs of parts: the same from a seed, all of them different."""

import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft.data.shapes import assembly
from keras_pointpeft.data.shapes import make_programs
from keras_pointpeft.data.shapes import pieces
from keras_pointpeft.data.shapes import wearing

pytestmark = pytest.mark.once


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["whole", "views"])
def made(request):
    return make_programs(192, 128, seed=3, views=request.param)


def test_clouds_lie_in_the_unit_sphere(made):
    assert made.points.shape == (192, 128, 3)
    assert made.points.dtype == np.float32
    assert np.isfinite(made.points).all()
    radius = np.linalg.norm(made.points, axis=-1).max(axis=1)
    np.testing.assert_allclose(radius, 1.0, atol=1e-5)
    np.testing.assert_allclose(made.points.mean(axis=1), 0.0, atol=1e-5)


def test_no_two_are_equal(made):
    # Sorted distances from the centre do not depend on the order of points.
    known = np.sort(np.linalg.norm(made.points, axis=-1), axis=1)
    apart = np.abs(known[:, None] - known[None]).max(axis=-1)
    assert apart[~np.eye(192, dtype=bool)].min() > 0.01
    for cloud in made.points:
        assert len(np.unique(cloud, axis=0)) == len(cloud)


@pytest.mark.parametrize(
    "start, count", [(0, 10), (60, 10), (64, 64), (150, 3)]
)
def test_a_cloud_depends_on_its_index_alone(start, count):
    for views in (0.0, 0.5):
        whole = make_programs(192, 128, seed=3, views=views)
        part = make_programs(count, 128, seed=3, start=start, views=views)
        np.testing.assert_array_equal(
            part.points, whole.points[start : start + count]
        )
        np.testing.assert_array_equal(
            part.labels, np.arange(start, start + count)
        )


def test_seeds_make_other_clouds():
    one, two = (make_programs(4, 64, seed=seed).points for seed in (0, 1))
    assert np.abs(one - two).max(axis=(1, 2)).min() > 0.1


def test_executions_of_a_program_are_more_alike_than_programs():
    made = make_programs(320, 512, num_programs=64)
    np.testing.assert_array_equal(made.labels, np.arange(320) % 64)
    # Distances from the centre, sorted: a rough description of a shape.
    known = np.sort(np.linalg.norm(made.points, axis=-1), axis=1)[:, ::16]
    apart = np.linalg.norm(known[:, None] - known[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    same = made.labels[apart.argmin(axis=1)] == made.labels
    assert same.mean() > 0.3  # 0.013 by chance
    assert apart.min() > 1e-3


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"num_programs": 100}, ValueError),
        ({"num_programs": 0}, ValueError),
        ({"views": 1.5}, ValueError),
        ({"views": float("nan")}, ValueError),
        ({"seed": -1}, ValueError),
        ({"num_points": 4}, ValueError),
        ({"start": 0.5}, TypeError),
    ],
)
def test_bad_arguments(arguments, error):
    with pytest.raises(error, match=f"{next(iter(arguments))}.*Received"):
        make_programs(1, **arguments)


@pytest.mark.parametrize("kind", range(len(pieces.KINDS)))
def test_pieces_fill_their_cube(kind):
    rng = np.random.default_rng(kind)
    count = 4000
    numbers = np.repeat(rng.random((4, 40), dtype="float32"), 100, axis=1)
    points = pieces.surfaces(np.full(count, kind), numbers, rng)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    assert np.abs(points).max() < 1.5
    assert (np.ptp(points, axis=1) > 0.5).sum() >= 2


def test_a_circle_of_copies_is_symmetric():
    """Points of a piece that is repeated four times about its parent."""
    rng = np.random.default_rng(0)
    program = assembly.drawn(1, rng)
    n = assembly.PIECES
    program = program._replace(
        repeat=np.full(n, assembly.CIRCLE), times=np.full(n, 4)
    )
    piece = np.full(20000, 1)
    flat = np.zeros((3, 20000), "float32")
    points = assembly.placed(program, piece, flat, rng)
    places = np.unique(points.round(4), axis=1)
    parent = program.parent[1]
    only = program._replace(repeat=np.full(n, assembly.ONCE))
    middle = assembly.placed(
        only, np.full(1, parent), np.zeros((3, 1), "float32"), rng
    )
    about = places - middle
    turned = np.stack([about[2], about[1], -about[0]])
    for place in turned.T:
        assert np.abs(about.T - place).max(axis=1).min() < 1e-3


def test_a_view_keeps_the_side_that_is_seen():
    """Of two parallel planes nobody sees the farther one."""
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 1, 4000), dtype="float32") - 0.5
    z = np.where(np.arange(4000) % 2 == 0, 0.4, -0.4).astype("float32")[None]
    behind = wearing._depth_behind(np.stack([x, y, z]), _Frontal())
    assert behind[z > 0].max() == 0
    assert (behind[z < 0] > 0.5).mean() > 0.95


class _Frontal:
    """Draws yaw 0, then the pitch that is 0."""

    def __init__(self):
        self.numbers = iter((0.0, 1 / 9))

    def random(self, shape, dtype):
        return np.full(shape, next(self.numbers), dtype)


def test_a_cut_takes_no_more_than_its_share():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((3, 50, 400), dtype="float32")
    numbers = rng.random((4, 50), dtype="float32")
    taken = wearing._cut(points, numbers, rng).mean(axis=1)
    assert taken.max() <= wearing.MOST_CUT
    assert (taken[numbers[0] >= 0.45] == 0).all()
    assert (taken > 0.05).sum() > 10


def test_loaded_as_a_split():
    split = data.load("programs", split="pretrain", num_clouds=8, num_points=32)
    assert split.class_names == ("program",)
    made = make_programs(8, 32)
    np.testing.assert_array_equal(split.points, made.points)
    split = data.load_programs(num_clouds=70, num_points=32, num_programs=64)
    np.testing.assert_array_equal(split.labels, np.arange(70) % 64)
    with pytest.raises(ValueError, match="pretrain"):
        data.load("programs", split="train")


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_do_not_depend_on_who_makes_them(workers):
    arguments = {"steps": 3, "batch_size": 64, "num_points": 32}
    dataset = data.ProgramDataset(
        **arguments, seed=5, augmentation="rotate", workers=workers
    )
    served = [dataset[i][0] for i in range(3)]
    dataset.epoch = 1
    served.append(dataset[0][0])
    alone = data.ProgramDataset(
        **arguments, seed=5, augmentation="rotate", workers=1
    )
    alone.epoch = 1
    np.testing.assert_array_equal(served[3], alone[0][0])
    plain = data.ProgramDataset(**arguments, seed=5)
    expected = make_programs(256, 32, seed=5).points
    np.testing.assert_array_equal(plain[2][0], expected[128:192])
    # A turn about y changes neither the height nor the distance.
    np.testing.assert_array_equal(served[1][..., 1], expected[64:128, :, 1])
    np.testing.assert_allclose(
        np.linalg.norm(served[3], axis=-1),
        np.linalg.norm(expected[192:], axis=-1),
        atol=1e-5,
    )


def test_labels_are_programs():
    dataset = data.ProgramDataset(2, 64, 32, num_programs=64)
    points, labels = dataset[1]
    np.testing.assert_array_equal(labels, np.arange(64))
    with pytest.raises(ValueError, match="multiple of 64"):
        data.ProgramDataset(2, num_programs=65)
