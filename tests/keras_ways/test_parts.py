"""Ways to save, load and set a part of a task."""

import keras
import numpy as np
import pytest

from keras_pointpeft import peft
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.peft import PriorBank
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_backbone
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import refuses
from tests.keras_ways.promise import values

pytestmark = pytest.mark.once


def with_head_of(model, backbone):
    """A task of a backbone that has a trained task's head."""
    task = PointCloudClassifier(backbone, 3, head_dims=(6,), dropout=0.0)
    task.head.set_weights(model.head.get_weights())
    return task


def weights_of_both(case):
    backbone = make_backbone()
    backbone.set_weights(case.model.backbone.get_weights())
    return backbone


def weights_of_each_layer(case):
    backbone = make_backbone()
    for layer in case.model.backbone.layers:
        backbone.get_layer(layer.name).set_weights(layer.get_weights())
    return backbone


def weights_file(case):
    case.model.backbone.save_weights(case.folder / "b.weights.h5")
    backbone = make_backbone(seed=1)
    backbone.load_weights(case.folder / "b.weights.h5")
    return backbone


def whole_file(case):
    case.model.backbone.save(case.folder / "b.keras")
    return keras.saving.load_model(case.folder / "b.keras")


def weights_out_of_a_whole_file(case):
    case.model.save(case.folder / "m.keras")
    model = make_task(seed=1)
    model.load_weights(case.folder / "m.keras")
    return model.backbone


def not_compiled(case):
    case.model.save(case.folder / "m.keras")
    path = case.folder / "m.keras"
    return keras.saving.load_model(path, compile=False).backbone


WAYS = (
    *(weights_of_both, weights_of_each_layer, weights_file, whole_file),
    *(weights_out_of_a_whole_file, not_compiled),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_backbone_alone(case, way):
    fit(case.model)
    found = with_head_of(case.model, way(case))
    np.testing.assert_array_equal(logits(found), logits(case.model))
    case.check(found)
    fit(found)
    case.check(found)


def test_a_head_for_other_classes(case):
    fit(case.model)
    path = case.folder / "m.weights.h5"
    case.model.save_weights(path)
    other = PointCloudClassifier(make_backbone(seed=1), 5, head_dims=(6,))
    with pytest.warns(UserWarning, match="logits"):
        other.load_weights(path, skip_mismatch=True)
    with other.disable_adapters() as plain:
        case.check_base(plain)


def test_the_way_back(case):
    """A search for a rate: train, and set the weights of before."""
    before = case.model.get_weights()
    fit(case.model)
    case.model.set_weights(before)
    case.check(case.model, moved=False)
    fit(case.model)
    case.check(case.model)


def test_variables_stand_in_one_order(case):
    model = case.model
    trained = [v.path for v in model.trainable_variables]
    every = [v.path for v in model.weights]
    model.trainable = False
    model.trainable = True
    assert [v.path for v in model.trainable_variables] == trained
    fit(model)
    model.save(case.folder / "m.keras")
    for found in (keras.saving.load_model(case.folder / "m.keras"), model):
        assert [v.path for v in found.trainable_variables] == trained
        assert [v.path for v in found.weights] == every


def test_layers_by_name(case):
    model = case.model
    backbone = model.get_layer(model.backbone.name)
    assert backbone is model.backbone is model.get_layer(index=1)
    told = []

    def tell(line, **kwargs):
        told.append(line)

    model.summary(expand_nested=True, show_trainable=True, print_fn=tell)
    told = "\n".join(told)
    for layer in ("class_tokens", "block_0", "head"):
        assert layer in told
    case.check(model, moved=False)


@pytest.mark.parametrize("share", (True, False))
def test_clone_function(case, share):
    def again(layer):
        return layer if share else type(layer).from_config(layer.get_config())

    model = case.model
    clone = keras.models.clone_model(model, clone_function=again)
    assert [v.path for v in clone.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(logits(clone), logits(model))
    fit(clone)
    found = values(clone.weights)
    for path in case.frozen:
        np.testing.assert_array_equal(found[path], case.base[path])
    case.check(model, moved=share)


@pytest.mark.parametrize("of", ("task", "backbone"))
def test_the_old_format(case, of):
    """Keras writes it and could not load it."""
    model = case.model if of == "task" else case.model.backbone
    path = case.folder / "model.h5"
    with refuses("model.keras"):
        model.save(path)
    assert not path.exists()


def test_a_file_with_some_of_the_blocks(tmp_path):
    """Point-PEFT's prior reads all blocks; such a file has but the first."""
    method = peft.PointPEFT(
        num_prompts=3,
        prompt_blocks=1,
        bank_size=8,
        prior_num_groups=None,
        prior_group_size=None,
        adapter_rank=2,
    )
    backbone = make_backbone(method, num_groups=8, depth=2)
    PriorBank.build(backbone, clouds(8)[0], verbose=0).attach(backbone)
    piece = backbone.features((0,))
    expected = logits(piece)
    piece.save(tmp_path / "piece.keras")
    with refuses("reads all.*Save the backbone"):
        keras.saving.load_model(tmp_path / "piece.keras")
    # As the words say.
    backbone.save(tmp_path / "backbone.keras")
    whole = keras.saving.load_model(tmp_path / "backbone.keras")
    again = whole.features((0,))
    np.testing.assert_array_equal(logits(again), expected)
    # And what the piece itself had learnt is not lost.
    again.load_weights(tmp_path / "piece.keras")
    np.testing.assert_array_equal(logits(again), expected)


def test_an_adapter_of_another_method(case):
    case.model.save_adapter(case.folder / "dapt")
    other = make_task(peft.LoRA(rank=2))
    before = values(other.weights)
    with refuses("does not fit"):
        other.load_adapter(case.folder / "dapt")
    found = values(other.weights)
    assert all((found[path] == x).all() for path, x in before.items())
