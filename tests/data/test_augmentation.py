import math

import numpy as np
import pytest

from keras_pointpeft.data import augmentation

from .conftest import make_clouds

pytestmark = pytest.mark.once


def apply(kind, points, seed=0, **arguments):
    made = augmentation.get({"name": kind, **arguments})
    return made(points, np.random.default_rng(seed))


@pytest.mark.parametrize("name", augmentation.AUGMENTATIONS)
def test_every_augmentation(name):
    made = augmentation.get(name)
    points = make_clouds(4, 32)
    kept = points.copy()
    first = made(points, np.random.default_rng(1))
    assert first.shape == points.shape and first.dtype == "float32"
    np.testing.assert_array_equal(points, kept)
    again = made(points, np.random.default_rng(1))
    np.testing.assert_array_equal(first, again)
    assert augmentation.get(made.get_config()) == made
    assert made(points.astype("float64"), np.random.default_rng(1)).dtype == (
        "float32"
    )


def fit_affine(before, after):
    """Slope and offset of each axis of each cloud, by least squares."""
    slope = np.empty((len(before), 3))
    offset = np.empty((len(before), 3))
    for cloud in range(len(before)):
        for axis in range(3):
            slope[cloud, axis], offset[cloud, axis] = np.polyfit(
                before[cloud, :, axis].astype("float64"),
                after[cloud, :, axis].astype("float64"),
                1,
            )
    return slope, offset


def test_scale_translate_ranges():
    points = make_clouds(400, 8)
    moved = apply("scale_translate", points)
    slope, offset = fit_affine(points, moved)
    assert slope.min() >= 2 / 3 - 1e-4 and slope.max() <= 3 / 2 + 1e-4
    assert np.abs(offset).max() <= 0.2 + 1e-3
    # Uniform: mean and spread as they should be, 1200 draws each.
    assert abs(slope.mean() - 13 / 12) < 0.03
    assert abs(slope.std() - (5 / 6) / math.sqrt(12)) < 0.02
    assert abs(offset.std() - 0.4 / math.sqrt(12)) < 0.01
    # Every axis of every cloud has its own.
    assert len(np.unique(slope.round(5))) > 1100


def test_isotropic_scale():
    points = make_clouds(20, 8)
    arguments = {"low": 0.8, "high": 1.25, "shift": 0.1, "isotropic": True}
    slope, _ = fit_affine(points, apply("scale_translate", points, **arguments))
    np.testing.assert_allclose(slope, slope[:, :1] * np.ones(3), atol=1e-4)


def test_rotation_follows_the_published_matrix():
    points = make_clouds(50, 8)
    turned = apply("rotate", points, seed=5)
    angle = np.random.default_rng(5).uniform(-math.pi, math.pi, 50)
    for cloud, out, a in zip(points, turned, angle):
        c, s = math.cos(a), math.sin(a)
        matrix = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        np.testing.assert_allclose(out, cloud @ matrix, atol=1e-5)
    assert angle.min() < -2.5 and angle.max() > 2.5


@pytest.mark.parametrize("axis", "xyz")
def test_rotation_keeps_the_axis_and_lengths(axis):
    points = make_clouds(6, 8)
    turned = apply("rotate", points, axis=axis)
    fixed = "xyz".index(axis)
    np.testing.assert_allclose(turned[..., fixed], points[..., fixed])
    np.testing.assert_allclose(
        np.linalg.norm(turned, axis=-1),
        np.linalg.norm(points, axis=-1),
        rtol=1e-5,
    )
    assert np.abs(turned - points).max() > 0.1


@pytest.mark.parametrize("shared", [False, True])
def test_scale_rotate(shared):
    points = make_clouds(30, 8)
    moved = apply("scale_rotate", points, shared=shared)
    # Heights are scaled by 0.9 to 1.1 and not turned.
    ratio = moved[..., 1] / points[..., 1]
    assert ratio.min() >= 0.9 - 1e-4 and ratio.max() <= 1.1 + 1e-4
    assert np.allclose(ratio, ratio[:, :1], rtol=1e-4)
    assert ratio[:, 0].std() > 0.01


def test_shared_angle():
    points = np.tile(make_clouds(1, 8), (5, 1, 1))
    turned = apply("rotate", points, shared=True)
    np.testing.assert_array_equal(turned, turned[:1] * np.ones((5, 1, 1)))
    turned = apply("rotate", points)
    assert np.abs(turned[0] - turned[1]).max() > 0.01


def test_jitter_is_clipped():
    points = make_clouds(20, 64)
    moved = apply("jitter", points, sigma=0.02, clip=0.03) - points
    assert np.abs(moved).max() <= 0.03 + 1e-6
    assert 0.01 < moved.std() < 0.02


def test_one_sided_keeps_the_far_part_of_some_clouds():
    points = make_clouds(200, 40)
    seen = apply("one_sided", points, share=0.5, least=0.3)
    assert seen.shape == points.shape
    stays = []
    for cloud, before in zip(seen, points, strict=True):
        assert np.abs(cloud.mean(0)).max() < 1e-5
        assert np.isclose(np.linalg.norm(cloud, axis=1).max(), 1, atol=1e-5)
        # Moved and scaled alike: differences of points tell which they are.
        distinct = np.unique(cloud.round(5), axis=0)
        stays.append(len(distinct) / 40)
        ratio = np.ptp(before, axis=0) / np.ptp(cloud, axis=0)
        if len(distinct) == 40:
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    stays = np.array(stays)
    assert 0.35 < (stays == 1).mean() < 0.65
    assert stays.min() >= 0.3 - 1e-6 and stays.min() < 0.4


def test_one_side_ends_at_a_plane():
    line = np.linspace(-1, 1, 101, dtype="float32")[None, :, None]
    line = line * np.float32([1, 0, 0])
    seen = apply("one_sided", line, share=1.0, least=0.5)[0, :, 0]
    # Of a line one end stays, without a gap, and its points in their order.
    distinct = np.unique(seen.round(5))
    steps = np.diff(distinct)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-2)
    assert 51 <= len(distinct) < 101
    assert (np.diff(seen) >= 0).all()


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"least": 0.0}])
def test_one_sided_refuses(wrong):
    with pytest.raises(ValueError, match="Received: share="):
        augmentation.OneSided(**wrong)


def test_composition_is_in_order():
    points = make_clouds(4, 8)
    rng = np.random.default_rng(3)
    one = augmentation.ScaleTranslate()(points, rng)
    expected = augmentation.Rotate()(one, rng)
    both = augmentation.get(["scale_translate", {"name": "rotate"}])
    got = both(points, np.random.default_rng(3))
    np.testing.assert_array_equal(got, expected)


def test_own_callable():
    def double(points, rng):
        return points * 2

    assert augmentation.get(double) is double
    assert augmentation.get(None) == augmentation.NoAugmentation()


@pytest.mark.parametrize(
    "identifier",
    ["spin", {"axis": "y"}, 3, {"name": "rotate", "axis": "w"}],
)
def test_unknown(identifier):
    with pytest.raises(ValueError, match="Received"):
        augmentation.get(identifier)


def test_wrong_arguments_and_shapes():
    with pytest.raises(TypeError):
        augmentation.get({"name": "rotate", "angle": 3})
    with pytest.raises(ValueError, match="low"):
        augmentation.ScaleTranslate(low=2, high=1)
    with pytest.raises(ValueError, match="clouds, points, 3"):
        apply("rotate", np.zeros((4, 3)))


@pytest.mark.parametrize(
    "identifier, words",
    [
        (None, "none"),
        ("scale_translate", "scale_translate"),
        ({"name": "rotate", "axis": "z"}, "rotate (axis z)"),
        (
            ["rotate", {"name": "jitter", "clip": 0.1}],
            "rotate + jitter (clip 0.1)",
        ),
        (augmentation.NoAugmentation(), "none"),
        (
            augmentation.get(["rotate"]),
            f"rotate (axis y, max_angle {math.pi}, shared False)",
        ),
    ],
)
def test_in_words(identifier, words):
    assert augmentation.in_words(identifier) == words
