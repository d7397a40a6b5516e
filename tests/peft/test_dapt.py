"""DAPT's scales: as published, and so that no adapter stays shut."""

import numpy as np
import pytest
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.writer import published_state
from keras_pointpeft.ops.arithmetic import relu
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import DynamicAdapter
from tests.conftest import small_backbone
from tests.conftest import small_classifier
from tests.ops.backends import gradients

ALIVE = {"scale_start": "one", "scale_leak": 0.1, "scale_step": 0.25}


def tokens(shift=0.0, dim=12):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(2, 5, dim)) + shift).astype("float32")


def scales(adapter, x):
    normed = adapter.norm(ops.convert_to_tensor(x))
    return ops.convert_to_numpy(adapter.token_scale(normed))


def shut(adapter, x):
    """The adapter with a scale of 0 for every token."""
    adapter.scale.bias.assign([-50.0])
    assert (scales(adapter, x) == 0).all()
    return adapter


def test_a_start_at_one_is_one_for_every_token():
    x = tokens(shift=3)
    adapter = DynamicAdapter(rank=3, scale_start="one")
    adapter(x)
    np.testing.assert_array_equal(scales(adapter, x), 1)


def test_the_leak_changes_no_output():
    x = tokens()
    adapters = [DynamicAdapter(rank=3, scale_leak=leak) for leak in (0, 0.5)]
    for adapter in adapters:
        adapter(x)
    rng = np.random.default_rng(1)
    values = [rng.normal(size=v.shape) for v in adapters[0].weights]
    for adapter in adapters:
        adapter.set_weights(values)
    first, second = (ops.convert_to_numpy(a(x)) for a in adapters)
    assert 0 < (scales(adapters[0], x) == 0).mean() < 1
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("start", ["random", "one"])
def test_a_step_of_the_weights_is_a_part_of_one_of_the_scale(start):
    x = tokens(shift=1)
    adapter = DynamicAdapter(rank=3, scale_start=start, scale_step=0.25)
    adapter(x)
    kernel, bias = (ops.convert_to_numpy(v) for v in adapter.scale.weights)
    # It starts where it would without.
    assert np.abs(0.25 * kernel).max() <= 1 / np.sqrt(12)
    assert 0.25 * bias[0] == {"random": 0.0, "one": 1.0}[start]
    before = ops.convert_to_numpy(adapter(x))
    assert (before == 0).all()
    adapter.up.bias.assign(np.ones(12))
    adapter.scale.bias.assign(bias + 0.5)
    normed = ops.convert_to_numpy(adapter.norm(ops.convert_to_tensor(x)))
    expected = np.maximum(0.25 * (normed @ kernel + bias + 0.5), 0)
    np.testing.assert_allclose(scales(adapter, x), expected, atol=1e-6)
    found = ops.convert_to_numpy(adapter(x))
    np.testing.assert_allclose(found, expected + 0 * found, atol=1e-6)


@pytest.mark.parametrize("leak", [0.0, 0.25, 1.0])
def test_the_gradient_of_a_scale(leak):
    x = np.array([-2.0, -0.5, 0.5, 2.0], "float32")
    weights = np.array([1.0, 2.0, 3.0, 4.0], "float32")
    (found,) = gradients(
        lambda x: ops.sum(relu(x, leak) * ops.convert_to_tensor(weights)), x
    )
    np.testing.assert_allclose(found, weights * np.where(x > 0, 1, leak))


@pytest.mark.once
@pytest.mark.parametrize("leak, opens", [(0.0, False), (0.1, True)])
def test_only_with_a_leak_does_a_shut_adapter_open(leak, opens, clouds):
    points, labels = clouds
    model = small_classifier(DAPT(rank=4, scale_leak=leak))
    adapters = [
        layer.tuner.adapter
        for layer in model.backbone.layers
        if layer.name.startswith("block_")
    ]
    x = tokens(dim=adapters[0].up.units)
    for adapter in adapters:
        shut(adapter, x)
        # It would add something if its scale were open.
        adapter.up.bias.assign(np.ones(adapter.up.bias.shape))
    model.fit(points, labels, epochs=1, batch_size=6, verbose=0)
    # Weight decay moves the kernel in any case, and leaves the bias alone.
    biases = [float(ops.convert_to_numpy(a.scale.bias)[0]) for a in adapters]
    assert [bias != -50 for bias in biases] == [opens] * len(adapters)


@pytest.mark.once
def test_the_config_comes_back():
    method = DAPT(rank=4, **ALIVE)
    again = DAPT.from_config(method.get_config())
    assert again.get_config() == method.get_config()
    backbone = small_backbone(method)
    adapter = backbone.clone().get_layer("block_0").tuner.adapter
    assert (adapter.scale_start, adapter.scale_leak) == ("one", 0.1)
    assert adapter.scale_step == 0.25


@pytest.mark.once
def test_a_config_of_an_earlier_version_is_the_published_form():
    config = DAPT(rank=4, **ALIVE).get_config()
    for name in ALIVE:
        del config[name]
    method = DAPT.from_config(config)
    assert (method.scale_start, method.scale_leak) == ("random", 0.0)
    assert method.scale_step == 1


@pytest.mark.once
def test_published_files_have_the_weights_of_a_whole_step():
    whole = small_classifier(DAPT(rank=4, scale_leak=0.1))
    assert "blocks.blocks.0.Adapter_MLP.scale.weight" in published_state(whole)
    part = small_classifier(DAPT(rank=4, scale_step=0.25))
    with pytest.raises(ValueError, match="scale_step=1.*Received.*0.25"):
        published_state(part)
    # A file of pre-training has none of them.
    assert layout_of(part, tuned=False).names("block_0/fc1/kernel")


def test_a_scale_that_is_not_there_takes_no_arguments():
    for arguments in (
        {"scale_start": "one"},
        {"scale_leak": 0.1},
        {"scale_step": 0.5},
    ):
        with pytest.raises(ValueError, match="dynamic scale.*Received"):
            DAPT(dynamic_scale=False, **arguments)
        with pytest.raises(ValueError, match="dynamic scale.*Received"):
            DynamicAdapter(3, dynamic=False, **arguments)


def test_without_a_scale_of_its_own_every_token_gets_all():
    x = tokens()
    plain, one = DynamicAdapter(3, dynamic=False), DynamicAdapter(3)
    for adapter in (plain, one):
        adapter(x)
    rng = np.random.default_rng(1)
    others = [v for v in one.weights if "/scale/" not in v.path]
    for ours, theirs in zip(plain.weights, others, strict=True):
        value = rng.normal(size=ours.shape)
        ours.assign(value)
        theirs.assign(value)
    one.scale.kernel.assign(np.zeros((12, 1)))
    one.scale.bias.assign([1.0])
    first, second = (ops.convert_to_numpy(a(x)) for a in (plain, one))
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", ["dynamic_scale", "internal_prompts"])
def test_dapt_without_a_part(part, clouds):
    """Its weights are all but that part's, and it trains and is saved."""
    points, labels = clouds
    whole = small_classifier(DAPT(rank=4))
    model = small_classifier(DAPT(rank=4, **{part: False}))
    word = {"dynamic_scale": "/scale/", "internal_prompts": "/prompt/"}[part]
    kept, own = (
        {v.path for v in m.backbone.trainable_variables if "tuner" in v.path}
        for m in (whole, model)
    )
    assert any(word in path for path in kept)
    assert own == {path for path in kept if word not in path}
    block = model.backbone.get_layer("block_0")
    assert block.tuner.tokens_added == (part != "internal_prompts")
    assert (block.tuner.token_scale is None) == (part == "dynamic_scale")
    model.fit(points, labels, epochs=1, batch_size=6, verbose=0)
    again = model.clone()
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(
        again.predict(points, verbose=0),
        model.predict(points, verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )
    with pytest.raises(ValueError, match=f"Received.*{part}=False"):
        published_state(model)


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"scale_start": "zero"}, "'random' or 'one'"),
        ({"scale_leak": -0.1}, "from 0 to 1"),
        ({"scale_leak": 2}, "from 0 to 1"),
        ({"scale_leak": True}, "from 0 to 1"),
        ({"scale_step": 0}, "above 0"),
        ({"scale_step": 1.5}, "up to 1"),
    ],
)
def test_bad_scales(arguments, told):
    for made in (DAPT, DynamicAdapter):
        with pytest.raises(ValueError, match=told):
            made(**arguments)
