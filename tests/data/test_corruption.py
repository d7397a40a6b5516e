"""Corruptions, by what is known of them in closed form."""

import numpy as np
import pytest

from keras_pointpeft.data import Split
from keras_pointpeft.data import corruption
from keras_pointpeft.data.corruption import CORRUPTIONS
from keras_pointpeft.data.corruption import SEVERITIES
from keras_pointpeft.data.corruption import corrupt
from keras_pointpeft.data.corruption import corrupt_split
from keras_pointpeft.data.corruption import sampled
from keras_pointpeft.data.normalization import unit_sphere

pytestmark = pytest.mark.once

LOSES = ("dropout", "dropout_local", "occlusion")
EVERY = [(name, s) for name in CORRUPTIONS for s in SEVERITIES]


def spheres(count=4, points=1000):
    """Clouds on the unit sphere."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, points, 3))
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def amount(name, severity):
    return CORRUPTIONS[name].amounts[severity - 1]


@pytest.mark.parametrize("name, severity", EVERY)
def test_what_holds_for_all(name, severity):
    points = spheres()
    found, index = corrupt(points, name, severity)
    assert found.shape == (*index.shape, 3) and len(found) == len(points)
    assert np.isfinite(found).all()
    for cloud, rows, before in zip(found, index, points):
        own = rows[rows >= 0]
        assert len(set(own)) == len(own)
        if name not in ("noise", "rotation"):
            np.testing.assert_array_equal(cloud[rows >= 0], before[own])
    # Of one seed the same, whatever is beside; of another one another.
    again, _ = corrupt(points[:2], name, severity)
    np.testing.assert_array_equal(again, found[:2])
    assert not np.array_equal(corrupt(points, name, severity, 1)[0], found)
    assert not np.array_equal(found[0], found[1])
    assert corrupt(points.astype("float32"), name, 1)[0].dtype == np.float32


@pytest.mark.parametrize("name", LOSES)
def test_shares_that_are_missing(name):
    points = spheres()
    kept = [corrupt(points, name, s)[1] for s in SEVERITIES]
    for severity, index in zip(SEVERITIES, kept):
        left = 1000 - round(1000 * amount(name, severity))
        assert index.shape == (4, left)
    if name == "dropout_local":
        return
    for more, fewer in zip(kept, kept[1:]):
        for a, b in zip(more, fewer):
            assert set(b) < set(a)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_deviation_of_noise(severity):
    points = spheres()
    moved = corrupt(points, "noise", severity)[0] - points
    wanted = amount("noise", severity)
    # 12,000 numbers, and a radius that is not exactly 1.
    assert moved.std() == pytest.approx(wanted, rel=0.08)
    assert abs(moved.mean()) < 4 * wanted / np.sqrt(moved.size)
    # In parts of the radius, wherever the cloud is.
    far = corrupt(100 * points + 7, "noise", severity)[0] - 100 * points - 7
    np.testing.assert_allclose(far, 100 * moved, atol=1e-9)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_angle_of_a_rotation(severity):
    points = spheres()
    turned = corrupt(points, "rotation", severity)[0]
    for cloud, before in zip(turned, points):
        middle = before.mean(axis=0)
        np.testing.assert_allclose(cloud.mean(axis=0), middle, atol=1e-12)
        turn = np.linalg.lstsq(before - middle, cloud - middle, rcond=None)[0]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(turn) == pytest.approx(1)
        # The trace of a turn by an angle is 1 + 2 cos(angle).
        angle = np.rad2deg(np.arccos((np.trace(turn) - 1) / 2))
        assert angle == pytest.approx(amount("rotation", severity))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_outliers_fill_the_ball(severity):
    points = spheres(count=20)
    found, index = corrupt(points, "outliers", severity)
    count = round(1000 * amount("outliers", severity))
    assert found.shape[1] == 1000 + count
    assert (index[:, :1000] == np.arange(1000)).all()
    assert (index[:, 1000:] == -1).all()
    middle = points.mean(axis=1, keepdims=True)
    reach = np.linalg.norm(points - middle, axis=-1).max(axis=1)
    radii = np.linalg.norm(found[:, 1000:] - middle, axis=-1)
    share = radii / reach[:, None]
    assert share.max() <= 1 + 1e-9
    # Evenly in the ball: the cube of the radius is uniform.
    error = 4 / np.sqrt(12 * share.size)
    assert abs((share**3).mean() - 0.5) < error


def test_a_plane_behind_another_is_hidden(monkeypatch):
    """Seen from in front, exactly the points that lie behind."""
    side = np.linspace(-1, 1, 20)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    front = np.column_stack((grid, np.zeros(400)))
    behind = np.column_stack((grid, np.ones(400)))
    cloud = np.concatenate((front, behind))
    monkeypatch.setattr(corruption, "_frame", lambda rng: np.eye(3))
    _, kept = corruption.occlusion(cloud, 0.5, None)
    np.testing.assert_array_equal(kept, np.arange(400))
    _, kept = corruption.occlusion(cloud, 0.25, None)
    assert set(range(400)) < set(kept)


def test_a_hole_is_around_a_place():
    """What is missing at one place is nearer than all that is left."""
    found = 0
    for seed in range(20):
        points = spheres(1)
        _, index = corrupt(points, "dropout_local", 1, seed)
        gone = np.setdiff1d(np.arange(1000), index[0])
        cloud = points[0]
        for start in gone:
            distances = np.linalg.norm(cloud - cloud[start], axis=1)
            if distances[gone].max() < distances[index[0]].min():
                found += 1
                break
    # One place of one to four, in a quarter of the draws.
    assert 1 <= found < 15


def test_density_falls_along_a_direction(monkeypatch):
    """The odds of a far point fall by exp(amount)."""
    monkeypatch.setattr(corruption, "_frame", lambda rng: np.eye(3))
    rng = np.random.default_rng(0)
    cloud = np.zeros((20000, 3))
    cloud[:, 2] = rng.integers(0, 2, 20000)
    near, means = cloud[:, 2] == 0, []
    for severity in SEVERITIES:
        factor = np.exp(amount("density", severity))
        _, kept = corruption.density(cloud, amount("density", severity), rng)
        assert len(kept) == 10000
        shares = [np.mean(part[kept]) for part in (near, ~near)]
        means.append(shares[0])
        # Draws without putting back: of n far ones a share 1 - q**factor
        # stays away, where q is that of the near ones.
        gone = 1 - np.array(
            [near[kept].sum() / near.sum(), (~near)[kept].sum() / (~near).sum()]
        )
        assert np.log(1 - gone[1]) / np.log(1 - gone[0]) > 1
        order = np.log(gone[0]) / np.log(gone[1])
        assert order == pytest.approx(factor, rel=0.2)
    assert means == sorted(means)


def split(**kwargs):
    points = unit_sphere(spheres())
    return Split(points, [0, 1, 0, 1], ("a", "b"), **kwargs)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_split_keeps_its_labels(name):
    parts = np.random.default_rng(0).integers(0, 3, (4, 1000))
    clean = split(part_labels=parts, part_names=("x", "y", "z"))
    found = corrupt_split(clean, name, 3)
    np.testing.assert_array_equal(found.labels, clean.labels)
    _, index = corrupt(clean.points, name, 3)
    for own, rows, before in zip(found.part_labels, index, parts):
        np.testing.assert_array_equal(own[rows >= 0], before[rows[rows >= 0]])
        assert (own[rows < 0] == -1).all()
    # Of the unit sphere, as a reader would make them.
    radii = np.linalg.norm(found.points, axis=-1).max(axis=1)
    np.testing.assert_allclose(radii, 1, atol=1e-5)
    np.testing.assert_allclose(found.points.mean(axis=1), 0, atol=1e-5)
    assert found.name == f"clouds, {name} 3"


def test_other_clouds_stay_where_they_are():
    points = 3 * spheres() + 5
    clean = Split(points, [0, 1, 0, 1], ("a", "b"))
    found = corrupt_split(clean, "dropout", 2)
    expected, _ = corrupt(clean.points, "dropout", 2)
    np.testing.assert_array_equal(found.points, expected)


def test_sampled():
    parts = np.tile(np.arange(1000) % 3, (4, 1))
    clean = split(part_labels=parts, channels=-unit_sphere(spheres()))
    found = sampled(clean, 100)
    np.testing.assert_array_equal(found.channels, -found.points)
    assert found.points.shape == (4, 100, 3)
    for cloud, own, before in zip(
        found.points, found.part_labels, clean.points
    ):
        for point, part in zip(cloud, own):
            (place,) = np.flatnonzero((before == point).all(axis=1))
            assert part == place % 3
    assert sampled(clean) is clean


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("fog", 1), "one of .*'noise'.*Received: corruption='fog'"),
        (("noise", 0), r"one of \[1, 2, 3, 4, 5\].*Received: severity=0"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        corrupt(spheres(), *arguments)
    with pytest.raises(ValueError, match="shape"):
        corrupt(spheres()[0], "noise", 1)
    with pytest.raises(ValueError, match="no colour.*Received: channels"):
        corrupt_split(split(channels=spheres()), *arguments)
