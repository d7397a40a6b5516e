"""Several adapters on one backbone, the base under them, merging, sharing."""

import json

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft import adapters
from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft.files import hub
from keras_pointpeft.models import PointCloudClassifier
from tests.conftest import small_backbone
from tests.conftest import small_classifier
from tests.test_registry import TINY


def stir(model, seed=0):
    """Moves everything that trains, as training would."""
    rng = np.random.default_rng(seed)
    for variable in adapters.split_variables(model)[0].values():
        if "int" in variable.dtype:
            continue
        noise = 0.1 * np.abs(rng.normal(size=variable.shape))
        variable.assign(variable.numpy() + noise)


def logits(model, points):
    return ops.convert_to_numpy(model(points))


def with_base_of(model, method):
    other = small_classifier(method)
    _, base = adapters.split_variables(model)
    for path, variable in adapters.split_variables(other)[1].items():
        variable.assign(base[path].numpy())
    return other


@pytest.mark.once
def test_ten_adapters_on_one_backbone(clouds, tmp_path):
    points, _ = clouds
    model = small_classifier(peft.DAPT(rank=4))
    before = len(model.weights)
    expected = {}
    single = with_base_of(model, peft.DAPT(rank=4))
    for i in range(10):
        stir(single, i)
        single.save_adapter(tmp_path / str(i))
        expected[str(i)] = logits(single, points)
        model.add_adapter(str(i), tmp_path / str(i))
    assert model.adapter_names == ["default", *expected]
    for name in [*expected, *reversed(expected)]:
        model.set_adapter(name)
        assert model.active_adapter == name
        np.testing.assert_array_equal(logits(model, points), expected[name])
    assert len(model.weights) == before
    kept = [
        sum(value.nbytes for value in values.values())
        for values in model._adapters.values.values()
        if values is not None
    ]
    own = adapters.split_variables(model)[0].values()
    assert kept == 10 * [sum(v.numpy().nbytes for v in own)]


def test_training_changes_the_adapter_in_place_alone(clouds):
    points, labels = clouds
    model = small_classifier(peft.LoRA(rank=2))
    model.add_adapter("new")
    default = logits(model, points)
    model.set_adapter("new")
    fresh = logits(model, points)
    model.fit(points, labels, epochs=2, batch_size=3, verbose=0)
    trained = logits(model, points)
    assert np.abs(trained - fresh).max() > 0
    model.set_adapter("default")
    np.testing.assert_array_equal(logits(model, points), default)
    model.set_adapter("new")
    np.testing.assert_array_equal(logits(model, points), trained)


@pytest.mark.once
def test_a_second_task_on_the_same_backbone(clouds, tmp_path):
    points, labels = clouds
    first = small_classifier(peft.DAPT(rank=4))
    first.add_adapter("other")
    second = PointCloudClassifier(first.backbone, 5, head_dims=(16,))
    before = logits(first, points)
    second.add_adapter("five")
    second.set_adapter("five")
    second.fit(points, labels, batch_size=3, verbose=0)
    moved = logits(second, points)
    # A call may be traced, so it puts nothing in place.
    with pytest.raises(ValueError, match="adapter of another task"):
        first(points)
    first.set_adapter("default")
    np.testing.assert_array_equal(logits(first, points), before)
    # What is no call puts its own adapter in place.
    expected = first.predict(points, verbose=0)
    found = second.predict(points, verbose=0)
    np.testing.assert_allclose(found, moved, atol=1e-6)
    first.save(tmp_path / "first.keras")
    again = keras.saving.load_model(tmp_path / "first.keras")
    np.testing.assert_array_equal(again.predict(points, verbose=0), expected)
    second.save_adapter(tmp_path / "five")
    first.set_adapter("other")
    second.add_adapter("again", tmp_path / "five")
    second.set_adapter("again")
    np.testing.assert_array_equal(logits(second, points), moved)


@pytest.mark.once
def test_slots_of_the_optimizer_belong_to_one_adapter(clouds):
    points, labels = clouds
    model = small_classifier(peft.LoRA(rank=2))
    model.add_adapter("a")
    model.fit(points, labels, batch_size=3, verbose=0)
    optimizer = model.optimizer

    def slots():
        return [np.array(ops.convert_to_numpy(v)) for v in optimizer.variables]

    trained = slots()
    model.set_adapter("a")
    model.predict(points, verbose=0)
    model.set_adapter("default")
    model.make_ready(training=True)
    for found, expected in zip(slots(), trained):
        np.testing.assert_array_equal(found, expected)
    optimizer.learning_rate = 0.25
    model.set_adapter("a")
    model.make_ready(training=True)
    moments = [
        value
        for variable, value in zip(optimizer.variables, slots())
        if variable.name != "learning_rate"
    ]
    assert moments and not any(np.any(value) for value in moments)
    assert float(optimizer.learning_rate) == 0.25


@pytest.mark.once
def test_names_are_checked(clouds):
    model = small_classifier(peft.DAPT(rank=4))
    with pytest.raises(ValueError, match="no named adapters"):
        model.set_adapter("a")
    model.add_adapter("a")
    with pytest.raises(ValueError, match="There is an adapter"):
        model.add_adapter("a")
    with pytest.raises(ValueError, match="no adapter of this name"):
        model.set_adapter("b")
    with pytest.raises(ValueError, match="active adapter cannot be deleted"):
        model.delete_adapter("default")
    model.delete_adapter("a")
    assert model.adapter_names == ["default"]


@pytest.mark.eager
@pytest.mark.parametrize(
    "frozen_bn",
    [pytest.param("inference", marks=pytest.mark.slow), "track"],
)
def test_the_base_comes_back_bit_for_bit(frozen_bn, clouds):
    points, labels = clouds
    model = small_classifier(peft.DAPT(rank=4, frozen_bn=frozen_bn))
    plain = small_backbone()
    targets = {v.path: v for v in plain.weights}
    for variable in model.backbone.weights:
        if variable.path in targets:
            targets[variable.path].assign(variable.numpy())
    expected = plain(points)
    model.fit(points, labels, epochs=1, batch_size=3, verbose=0)
    with model.disable_adapters() as base:
        found = base(points)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(
            ops.convert_to_numpy(found[name]), ops.convert_to_numpy(value)
        )


@pytest.mark.once
def test_the_base_is_kept_with_the_weights(clouds, tmp_path):
    points, labels = clouds
    model = small_classifier(peft.DAPT(rank=4, frozen_bn="track"))
    with model.disable_adapters() as base:
        expected = copies(base)
    model.fit(points, labels, batch_size=3, verbose=0)
    assert not np.array_equal(
        model.backbone.get_layer("class_tokens").weights[0].numpy(),
        expected["class_tokens/token"],
    )
    model.save(tmp_path / "model.keras")
    model.save_to_preset(str(tmp_path / "preset"))
    again = keras.saving.load_model(tmp_path / "model.keras")
    preset = PointCloudClassifier.from_preset(str(tmp_path / "preset"))
    for other in (again, preset):
        np.testing.assert_array_equal(
            logits(other, points), logits(model, points)
        )
        with other.disable_adapters() as base:
            same(copies(base), expected)
    stripped = PointCloudClassifier.from_preset(
        str(tmp_path / "preset"), peft=None
    )
    same(copies(stripped.backbone), expected)


@pytest.mark.once
def test_a_file_that_does_not_know_the_base(tmp_path):
    model = small_classifier(peft.DAPT(rank=4))
    for variable in model.trainable_variables:
        variable.assign(variable + 0.01)
    model.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "a") as file:
        found = []
        file.visit(lambda name: found.append(name))
        (own,) = (n for n in found if n.endswith("point_mae_backbone/vars"))
        del file[f"{own}/0"]
    other = small_classifier(peft.DAPT(rank=4))
    other.load_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match="class_tokens/token"):
        with other.disable_adapters():
            pass
    # The base is there already.
    with model.disable_adapters() as base:
        expected = copies(base)
    model.load_weights(tmp_path / "a.weights.h5")
    with model.disable_adapters() as base:
        same(copies(base), expected)


def copies(backbone):
    return {
        v.path: np.array(ops.convert_to_numpy(v))
        for v in backbone.weights
        if "seed_generator" not in v.path
    }


def same(found, expected):
    assert set(found) == set(expected)
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, path)


@pytest.mark.once
def test_full_fine_tuning_leaves_no_base():
    model = small_classifier(peft.Full())
    with pytest.raises(ValueError, match="changes the backbone itself"):
        with model.disable_adapters():
            pass


MERGED = {
    "bitfit": peft.BitFit,
    "lora": lambda: peft.LoRA(rank=2, alpha=4),
    "ssf": peft.SSF,
    "linear": peft.LinearProbe,
}


@pytest.mark.once
@pytest.mark.parametrize("method", MERGED)
def test_merging_is_exact(method, clouds):
    points, _ = clouds
    model = small_classifier(MERGED[method]())
    stir(model)
    merged = model.merge()
    assert merged.backbone.peft is None
    assert not any("tuner" in v.path for v in merged.weights)
    np.testing.assert_allclose(
        logits(merged, points), logits(model, points), atol=1e-5, rtol=1e-5
    )


@pytest.mark.once
@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param("PointGPTBackbone", marks=pytest.mark.slow),
        pytest.param("PointM2AEBackbone", marks=pytest.mark.slow),
        "ReConBackbone",
    ],
)
def test_merging_is_exact_on_other_backbones(backbone, clouds):
    points, _ = clouds
    made = getattr(models, backbone)(peft=peft.SSF(), **TINY[backbone])
    model = PointCloudClassifier(made, 3, head_dims=(16,))
    stir(model)
    np.testing.assert_allclose(
        logits(model.merge(), points), logits(model, points), atol=1e-5
    )


@pytest.mark.once
def test_transforms_of_dapt_are_merged_on_request(clouds):
    points, _ = clouds
    model = small_classifier(peft.DAPT(rank=4))
    stir(model)
    with pytest.raises(ValueError, match="partial=True"):
        model.merge()
    merged = model.merge(partial=True)
    assert merged.backbone.peft.sites == ()
    assert merged.count_params() < model.count_params()
    np.testing.assert_allclose(
        logits(merged, points), logits(model, points), atol=1e-5, rtol=1e-5
    )


@pytest.mark.once
def test_what_cannot_be_merged_is_refused():
    for method in (peft.Adapter(4), peft.VPT(2), peft.PPT(rank=4)):
        with pytest.raises(ValueError, match="cannot be merged"):
            small_classifier(method).merge()
    with pytest.raises(ValueError, match="no method to merge"):
        small_classifier(None).merge()


@pytest.mark.once
def test_a_negative_scale_behind_the_maximum_is_refused():
    model = small_classifier(peft.SSF())
    gamma = model.backbone.get_layer("tuner_patches").gamma
    gamma.assign(-gamma.numpy())
    with pytest.raises(ValueError, match="follows a maximum"):
        model.merge()


@pytest.mark.once
def test_safetensors_there_and_back(clouds, tmp_path):
    pytest.importorskip("safetensors")
    points, _ = clouds
    model = small_classifier(peft.LoRA(rank=2))
    stir(model)
    model.save_adapter(tmp_path / "a")
    file = tmp_path / "a.safetensors"
    adapters.export_safetensors(tmp_path / "a", file)
    adapters.import_safetensors(file, tmp_path / "b")
    other = with_base_of(model, peft.LoRA(rank=2))
    other.load_adapter(tmp_path / "b")
    np.testing.assert_array_equal(logits(other, points), logits(model, points))


@pytest.mark.once
def test_the_card_says_what_it_is(tmp_path):
    model = small_classifier(peft.LoRA(rank=2))
    model.save_adapter(tmp_path)
    card = (tmp_path / "README.md").read_text()
    config = json.loads((tmp_path / "adapter.json").read_text())
    assert "# LoRA on PointMAEBackbone" in card
    assert config["base_fingerprint"] in card


@pytest.mark.once
def test_a_handle_is_fetched(clouds, tmp_path, monkeypatch):

    points, _ = clouds
    model = small_classifier(peft.LoRA(rank=2))
    stir(model)
    model.save_adapter(tmp_path)
    monkeypatch.setattr(hub, "download", lambda _: str(tmp_path))
    other = with_base_of(model, peft.LoRA(rank=2))
    other.load_adapter("hf://someone/something")
    np.testing.assert_array_equal(logits(other, points), logits(model, points))


@pytest.mark.once
def test_upload(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    calls = []

    class Api:
        def create_repo(self, name, exist_ok):
            calls.append(("create", name, exist_ok))

        def upload_folder(self, repo_id, folder_path):
            calls.append(("upload", repo_id, folder_path))

    monkeypatch.setattr(hub, "HfApi", Api)
    small_classifier(peft.LoRA(rank=2)).save_adapter(tmp_path)
    adapters.upload_adapter(tmp_path, "hf://someone/something")
    assert calls == [
        ("create", "someone/something", True),
        ("upload", "someone/something", str(tmp_path)),
    ]
    with pytest.raises(ValueError, match="hf://owner/name"):
        adapters.upload_adapter(tmp_path, "kaggle://someone/something")
    with pytest.raises(FileNotFoundError, match="adapter.json"):
        adapters.upload_adapter(tmp_path / "no", "hf://someone/something")


@pytest.mark.once
def test_bfloat16_comes_back(tmp_path):
    model = small_classifier(peft.LoRA(rank=2), dtype="bfloat16")
    stir(model)
    model.save_adapter(tmp_path)
    other = small_classifier(peft.LoRA(rank=2), dtype="bfloat16")
    _, base = adapters.split_variables(model)
    for path, variable in adapters.split_variables(other)[1].items():
        variable.assign(base[path].value)
    other.load_adapter(tmp_path)
    expected, _ = adapters.split_variables(model)
    for path, variable in adapters.split_variables(other)[0].items():
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ops.cast(variable, "float32")),
            ops.convert_to_numpy(ops.cast(expected[path], "float32")),
        )


@pytest.mark.once
def test_named_adapters_are_not_saved_with_the_model(clouds, tmp_path):
    points, _ = clouds
    model = small_classifier(peft.LoRA(rank=2))
    model.add_adapter("other")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(logits(again, points), logits(model, points))
