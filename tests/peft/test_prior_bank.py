import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.peft import PriorBank
from keras_pointpeft.peft.point_peft import bank as prior_bank
from tests.conftest import small_backbone
from tests.conftest import small_classifier


def method(**kwargs):
    arguments = {
        "num_prompts": 5,
        "prompt_blocks": 1,
        "bank_size": 12,
        "prior_num_groups": None,
        "prior_group_size": None,
        "adapter_rank": 4,
    }
    return PointPEFT(**{**arguments, **kwargs})


def bank_of(features, fingerprint="00" * 32, **kwargs):
    return PriorBank(np.asarray(features, "float32"), fingerprint, **kwargs)


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(12, 24)).astype("float32")


# === Queries ===


@pytest.mark.parametrize("count", (12, 7))
def test_query(features, count):
    rng = np.random.default_rng(1)
    queries = rng.normal(size=(3, 24)).astype("float32")
    found = prior_bank.query(ops.convert_to_tensor(queries), features, 4, count)
    for query, ours in zip(queries, ops.convert_to_numpy(found)):
        similarity = features[:count] @ query / np.linalg.norm(query)
        best = np.argsort(-similarity)[:4]
        weights = np.exp(similarity[best])
        mix = (weights / weights.sum()) @ features[best]
        expected = np.concatenate((query[None], mix[None], features[best]))
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_query_of_a_bank_that_is_too_small(features):
    with pytest.raises(ValueError, match="12 entries"):
        bank_of(features).query(features[:1], top_k=13)


# === Building ===


@pytest.mark.once
def test_build_normalizes_the_frozen_feature(clouds):
    backbone = small_backbone()
    bank = PriorBank.build(
        backbone, clouds[0], dtype="float32", batch_size=4, verbose=0
    )
    tokens = [
        ops.convert_to_numpy(backbone.frozen_pass()(clouds[0][i : i + 1]))
        for i in range(6)
    ]
    expected = np.concatenate(tokens)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(bank.features, expected, atol=1e-6)
    assert bank.recipe["entries"] == len(bank) == 6
    assert bank.fingerprint == prior_bank.fingerprint(backbone)


def test_build_from_batches_with_labels(clouds):
    points, labels = clouds
    backbone = small_backbone()
    data = [(points[:4], labels[:4]), (points[4:], labels[4:])]
    bank = PriorBank.build(backbone, data, verbose=0)
    whole = PriorBank.build(backbone, points, labels, verbose=0)
    np.testing.assert_array_equal(bank.labels, labels)
    np.testing.assert_allclose(bank.features, whole.features, atol=1e-3)
    assert bank.features.dtype == np.float16


@pytest.mark.once
def test_a_bank_is_of_places_alone(clouds):
    points, labels = clouds
    colors = np.random.default_rng(1).random(points.shape).astype("float32")
    wide = np.concatenate([points, colors], axis=-1)
    model = small_classifier(method(), extra_channels=3)
    banks = [
        PriorBank.build(model, each, verbose=0) for each in (points, wide)
    ]
    np.testing.assert_array_equal(banks[0].features, banks[1].features)
    with pytest.raises(ValueError, match=r"Received: \(6, 64, 5\)"):
        PriorBank.build(model, wide[..., :5], verbose=0)
    banks[1].attach(model)
    model.fit(wide, labels, verbose=0)


@pytest.mark.once
def test_the_method_does_not_change_the_frozen_feature(clouds):
    points, labels = clouds
    model = small_classifier(method(prompt_dropout=0.0))
    PriorBank.build(model, np.tile(points, (2, 1, 1)), verbose=0).attach(model)
    before = ops.convert_to_numpy(model.backbone.frozen_pass()(points))
    known = prior_bank.fingerprint(model.backbone)
    model.fit(points, labels, epochs=2, batch_size=3, verbose=0)
    assert prior_bank.fingerprint(model.backbone) == known
    after = ops.convert_to_numpy(model.backbone.frozen_pass()(points))
    np.testing.assert_array_equal(after, before)


@pytest.mark.once
@pytest.mark.parametrize("frozen_bn", ("inference", "track"))
@pytest.mark.parametrize("groups", (None, 4, 6))
def test_the_model_asks_as_the_bank_was_built(clouds, frozen_bn, groups):
    peft = method(prior_num_groups=groups, frozen_bn=frozen_bn)
    backbone = small_backbone(peft)
    inside = keras.Model(
        backbone.input, backbone.get_layer("frozen_pass").output
    )
    outside = backbone.frozen_pass(groups)
    np.testing.assert_allclose(
        ops.convert_to_numpy(inside(clouds[0])),
        ops.convert_to_numpy(outside(clouds[0])),
        atol=1e-6,
    )


# === Thinning out ===


def test_random_and_class_balanced_samples(features):
    labels = np.array([0] * 9 + [1] * 2 + [2])
    bank = bank_of(features, labels=labels)
    assert len(bank.sample(5)) == 5
    balanced = bank.sample(5, "class_balanced")
    assert np.bincount(balanced.labels).tolist() == [2, 2, 1]
    with pytest.raises(ValueError, match="labels"):
        bank_of(features).sample(5, "class_balanced")
    with pytest.raises(ValueError, match="13"):
        bank.sample(13)


def test_k_center_covers_clusters():
    rng = np.random.default_rng(0)
    centers = 10 * np.eye(4, 8)
    crowd = np.repeat(centers, (20, 1, 1, 1), axis=0)
    bank = bank_of(crowd + 0.01 * rng.normal(size=crowd.shape))
    kept = bank.sample(4, "k_center").features
    assert sorted(np.argmax(kept, axis=1)) == [0, 1, 2, 3]


# === Saving ===


def test_save_and_load(features, tmp_path):
    bank = PriorBank(
        features.astype("float16"), "ab" * 32, {"source": "x"}, np.arange(12)
    )
    bank.save(tmp_path / "bank.npz")
    loaded = PriorBank.load(tmp_path / "bank.npz")
    np.testing.assert_array_equal(loaded.features, bank.features)
    np.testing.assert_array_equal(loaded.labels, bank.labels)
    assert loaded.features.dtype == np.float16
    assert (loaded.fingerprint, loaded.recipe) == ("ab" * 32, {"source": "x"})
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="no bank"):
        PriorBank.load(tmp_path / "other.npz")


# === Attaching ===


def test_what_does_not_fit_is_refused(features, clouds):
    model = small_classifier(method())
    good = PriorBank.build(model, clouds[0], verbose=0)
    good.attach(model)
    with pytest.raises(ValueError, match="other frozen weights"):
        bank_of(features).attach(model)
    with pytest.raises(ValueError, match="width"):
        bank_of(np.ones((8, 5))).attach(model)
    few = PriorBank(good.features[:2], good.fingerprint)
    with pytest.raises(ValueError, match="reads 3 entries"):
        few.attach(model)
    many = PriorBank(np.tile(good.features, (3, 1)), good.fingerprint)
    with pytest.raises(ValueError, match="bank_size=18"):
        many.attach(model)
    other = dict(good.recipe, num_groups=3)
    with pytest.raises(ValueError, match="num_groups=3"):
        PriorBank(good.features, good.fingerprint, other).attach(model)
    for peft in (DAPT(rank=4), method(prior=False)):
        with pytest.raises(ValueError, match="Only a backbone with"):
            good.attach(small_classifier(peft))


def test_a_bank_is_not_finite_or_not_a_matrix():
    with pytest.raises(ValueError, match="finite"):
        bank_of([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="non-empty"):
        bank_of(np.ones(3))


@pytest.mark.once
def test_without_a_bank_nothing_runs_and_the_error_helps(clouds):
    points, labels = clouds
    model = small_classifier(method())
    for run in (
        lambda: model.fit(points, labels, verbose=0),
        lambda: model.predict(points, verbose=0),
        lambda: model.evaluate(points, labels, verbose=0),
    ):
        with pytest.raises(ValueError, match=r"PriorBank\.build.*attach"):
            run()
    small_classifier(method(prior=False)).predict(points, verbose=0)
