import json
import warnings

import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft.data.appearance import look
from keras_pointpeft.data.clouds import sample_points
from keras_pointpeft.data.contract import Contract
from keras_pointpeft.data.contract import contract_of
from keras_pointpeft.training.recipe import Recipe

pytestmark = pytest.mark.once

NAMES = ("ball", "box")


def scans(count=12, points=1500, seed=0):
    """Scans of two kinds of things, in metres, about 2 m across."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(count, points, 3))
    balls = made / np.linalg.norm(made, axis=-1, keepdims=True)
    boxes = rng.uniform(-1, 1, (count, points, 3))
    side = rng.integers(0, 3, (count, points))
    np.put_along_axis(boxes, side[..., None], 1.0, axis=-1)
    return np.where(np.arange(count)[:, None, None] % 2, boxes, balls)


def trained(sampling="fps"):
    """The contract of a run on scans as `load_folder` prepares them."""
    rng = np.random.default_rng(1)
    clouds = [c[rng.permutation(len(c))[:512]] for c in scans()]
    split = data.Split(
        data.unit_sphere(np.stack(clouds)), np.arange(12) % 2, NAMES
    )
    recipe = Recipe(epochs=1, num_points=512, evaluation_sampling=sampling)
    return contract_of(split, recipe, dataset="folder", preset="a_b_c")


def test_a_file_of_it_says_the_same():
    contract = trained()
    text = json.dumps(contract.to_dict())
    assert Contract.from_dict(json.loads(text)) == contract
    assert contract.class_names == NAMES
    assert contract.normalization == "unit_sphere"
    assert (contract.num_points, contract.stored_points) == (512, 512)
    assert contract.unknown == []
    # What a later version knows is no reason to refuse a file.
    later = {**contract.to_dict(), "weather": "rain"}
    assert Contract.from_dict(later) == contract


def test_what_is_not_known_is_named():
    assert Contract.from_dict(None).unknown == [
        "class names",
        "num points",
        "sampling",
        "normalization",
    ]


@pytest.mark.parametrize("scale", [1.0, 1000.0, 1e-3])
@pytest.mark.parametrize("offset", [0.0, (400.0, -50.0, 3.0)])
def test_prepare_finds_what_training_saw(scale, offset):
    contract, made = trained(), scans(4, seed=5)
    expected = contract.prepare(made)
    assert expected.shape == (4, 512, 3) and expected.dtype == np.float32
    moved = contract.prepare(made * scale + np.asarray(offset) * scale)
    np.testing.assert_allclose(moved, expected, atol=2e-5)
    assert contract.complaints(expected) == []


@pytest.mark.parametrize("up_axis", ["x", "y", "z"])
def test_clouds_are_turned_as_the_loader_turned_them(up_axis, tmp_path):
    contract = trained("first").told(up_axis=up_axis)
    cloud = scans(1, points=512)[0] * (1.0, 2.0, 3.0)
    (tmp_path / "train" / "ball").mkdir(parents=True)
    np.save(tmp_path / "train" / "ball" / "0.npy", cloud)
    split = data.load(
        "folder", tmp_path, split="train", num_points=512, up_axis=up_axis
    )
    for given in ([cloud], split):  # as in a file, and as loaded
        np.testing.assert_allclose(
            contract.prepare(given), split.points, atol=1e-6
        )
    np.testing.assert_allclose(
        contract.prepare(split.points, up_axis="y"), split.points, atol=1e-6
    )


def test_a_split_is_prepared_with_the_channels_of_the_model():
    contract, split = trained("first"), prepared_split()
    assert contract.prepare(split).shape == (4, 512, 3)
    found = contract.told(channels=("colors",)).prepare(split)
    np.testing.assert_array_equal(found[..., 3:], split.channels)
    np.testing.assert_allclose(found[..., :3], split.points, atol=1e-6)


def prepared_split():
    points = data.unit_sphere(scans(4, 512))
    channels = np.random.default_rng(0).random(points.shape, "float32")
    return data.Split(points, [0, 1, 0, 1], NAMES, channels=channels)


def test_there_is_no_contract_of_nothing():
    for split in ([], prepared_split().take(np.zeros(4, bool))):
        with pytest.raises(ValueError, match="Received: a split without any"):
            contract_of(split, Recipe(epochs=1))


def test_unequal_clouds_become_equal_and_small_ones_are_told():
    contract, made = trained(), scans(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = contract.prepare([made[0][:700], made[1]])
    assert points.shape == (2, 512, 3)
    with pytest.warns(UserWarning, match=r"fewer than the 512 .* b \(100\)"):
        points = contract.prepare([made[0], made[1][:100]], ["a", "b"])
    assert points.shape == (2, 512, 3)
    assert len(np.unique(points[1], axis=0)) == 100


def test_prepared_as_the_loader_did(tmp_path):
    """The cloud of a file is what `load_folder` makes of it."""
    (tmp_path / "train" / "ball").mkdir(parents=True)
    cloud = scans(1)[0].astype("float32")
    np.save(tmp_path / "train" / "ball" / "0.npy", cloud)
    split = data.load("folder", tmp_path, split="train", num_points=512)
    found = trained("first").prepare([cloud])[0]
    np.testing.assert_allclose(found, split.points[0], atol=1e-6)


@pytest.mark.parametrize(
    "ways, word",
    [
        (lambda x: x, None),
        (lambda x: x * 1000, "scale"),
        (lambda x: x + 40, "place"),
        (lambda x: np.concatenate((x, x + 1e-3), axis=1), "number of points"),
        (lambda x: x[:, :100], "number of points"),
    ],
)
def test_what_cannot_be_of_training_is_told(ways, word):
    contract = trained()
    points = ways(contract.prepare(scans(4, seed=3)))
    found = contract.complaints(points)
    assert bool(found) == (word is not None)
    assert word is None or word in " ".join(found)
    if word is not None:
        with pytest.warns(UserWarning, match=word):
            contract.warn(points)


def test_points_chosen_otherwise_are_told():
    contract, made = trained(), scans(4, seed=3)
    spread = data.unit_sphere(sample_points(made, 512, "fps"))
    assert "evenly" in contract.complaints(spread)[0]
    # Points in a few clusters.
    near = np.repeat(made[:, :32], 16, axis=1)
    near += np.random.default_rng(0).normal(scale=1e-3, size=near.shape)
    assert "denser" in contract.complaints(data.unit_sphere(near))[0]


def test_clouds_that_were_not_normalized_stay_so():
    split = data.Split(scans() + 3, np.arange(12) % 2, NAMES)
    contract = contract_of(split, Recipe(epochs=1, num_points=256))
    assert contract.normalization == "none"
    assert (contract.stored_points, contract.num_points) == (1500, 256)
    prepared = contract.prepare(scans(2, seed=4) + 3)
    assert prepared.mean() > 2 and contract.complaints(prepared) == []
    assert contract.complaints(prepared * 100)


def test_scenes():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 4, (3000, 3)).astype("float32")
    room = data.Room(points, np.zeros(3000, "int32"), "Area_1_a")
    recipe = Recipe(epochs=1, num_points=512, column_size=2.0)
    contract = contract_of([room], recipe, test_area="2")
    assert contract.column_size == 2.0 and contract.test_area == "2"
    assert contract.normalization == "columns"
    assert contract.unknown == ["part names"]


def test_a_look_against_closed_forms():
    """A grid of spacing 0.5 about a place: radius and spacing are known."""
    axis = np.arange(-1, 1.1, 0.5)
    grid = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(1, -1, 3)
    seen = look(grid + np.array([3.0, 0.0, 0.0]))
    radius = np.sqrt(3)
    assert seen.radius == pytest.approx((radius, radius), rel=1e-3)
    assert seen.offset == pytest.approx(3 / radius)
    assert seen.spacing[0] == pytest.approx(0.5 / radius, rel=1e-3)
    assert seen.evenness[1] == pytest.approx(0, abs=1e-6)
    assert seen.points == (125, 125)


def test_clouds_with_colors_are_prepared_by_their_places():
    contract = trained()
    clouds = scans()[:2]
    colors = np.random.default_rng(0).random((2, 1500, 3))
    plain = contract.prepare(clouds)
    wide = contract.prepare(list(np.concatenate([clouds, colors], -1)))
    assert wide.shape == (2, 512, 6) and wide.dtype == "float32"
    np.testing.assert_array_equal(wide[..., :3], plain)
    assert contract.complaints(wide) == contract.complaints(plain)


def test_predictions_refuse_what_training_does():
    contract = trained()
    far = (scans()[0] + (4e5, 5.4e6, 352)).astype("float32")
    with pytest.raises(ValueError, match="float64"):
        contract.prepare([far])
    degrees = scans()[0] * (1 / 111320, 1 / 111320, 1) + (8.5, 47.3, 400)
    with pytest.raises(ValueError, match="degrees"):
        contract.prepare([degrees])
    for moved in (scans()[0] + (4e5, 5.4e6, 352), scans()[0] * 1000):
        np.testing.assert_allclose(
            contract.prepare([moved]), contract.prepare(scans()[:1]), atol=1e-5
        )
