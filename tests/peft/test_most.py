"""MoST: by default it learns and knows no batch; as released, neither."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft.peft.most.fusion import BlockFusion
from keras_pointpeft.peft.most.fusion import fused_blocks
from keras_pointpeft.peft.most.neighbor_graph import differences
from tests.conftest import small_backbone
from tests.conftest import small_classifier
from tests.test_registry import PLAIN


def values(model, part):
    found = {v.path: v.numpy() for v in model.weights if part in v.path}
    assert found
    return found


@pytest.mark.parametrize(
    "reference", [False, pytest.param(True, marks=pytest.mark.once)]
)
def test_what_trains_and_what_a_cloud_s_logits_depend_on(reference, clouds):
    points, labels = clouds
    method = peft.MoST(monarch_blocks=3, reference=reference)
    model = small_classifier(method, depth=1)
    together = ops.convert_to_numpy(model(points))
    alone = np.concatenate(
        [ops.convert_to_numpy(model(points[i : i + 1])) for i in range(6)]
    )
    depends = np.abs(together - alone).max() > 1e-3
    assert depends == reference
    before = {
        part: values(model, part)
        for part in ("factor1", "factor2", "gain_in", "monarch/bias")
    }
    eager = keras.config.backend() == "tensorflow"
    model.compile(run_eagerly=eager)
    model.fit(points, labels, batch_size=6, epochs=4, verbose=0)
    for part, old in before.items():
        moved = [
            np.any(value != old[path])
            for path, value in values(model, part).items()
        ]
        alive = part == "monarch/bias" or not reference
        assert moved == [alive] * len(moved), part


@pytest.mark.once
def test_the_start_is_that_of_its_mode():
    for reference in (False, True):
        layer = peft.MonarchLinear(12, 3, dead_start=reference)
        assert not ops.convert_to_numpy(layer(np.ones((2, 5, 12)))).any()
        assert not layer.factor2.numpy().any()
        assert layer.factor1.numpy().any() != reference
        assert np.abs(layer.factor1.numpy()).max() <= 0.5


@pytest.mark.once
def test_a_neutral_start_is_the_base(clouds):
    points, _ = clouds
    for neutral in (False, True):
        method = peft.MoST(3, fusions=0, neutral_start=neutral)
        tuned = small_backbone(method)
        base = tuned.clone(peft=None)(points)["patch_tokens"]
        base = ops.convert_to_numpy(base)
        found = ops.convert_to_numpy(tuned(points)["patch_tokens"])
        assert (np.abs(found - base).max() < 1e-6) == neutral


@pytest.mark.once
def test_rows_take_a_patch_from_the_mean_of_its_neighbours():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(2, 9, 3)).astype("float32")
    tokens = rng.normal(size=(2, 9, 5)).astype("float32")
    found = ops.convert_to_numpy(differences(centers, 4)) @ tokens
    for b, i in np.ndindex(2, 9):
        distance = np.sqrt(((centers[b] - centers[b, i]) ** 2).sum(axis=1))
        near = np.argsort(distance)[1:5]
        weights = 1.0 / (distance[near] + 0.05)
        mean = weights @ tokens[b, near] / weights.sum()
        np.testing.assert_allclose(found[b, i], mean - tokens[b, i], atol=1e-5)
    few = ops.convert_to_numpy(differences(centers[:, :3], 2))
    np.testing.assert_allclose(few.sum(axis=2), 0.0, atol=1e-6)


@pytest.mark.once
def test_blocks_are_fused_by_depth():
    assert fused_blocks(range(24), 3) == (7, 15, 23)
    assert fused_blocks(range(12), 3) == (3, 7, 11)
    assert fused_blocks(range(4), 2) == (1, 3)
    assert fused_blocks(range(5, 7), 3) == (5, 6)
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 6)).astype("float32")
    layer = BlockFusion((1, 3))
    found = ops.convert_to_numpy(layer(x[0], list(x)))
    both = x.max(axis=2) + x.mean(axis=2)
    total = both[0] + 2.0 * both[1]
    total = total - total.mean(axis=1, keepdims=True)
    total = total / np.sqrt((total**2).mean(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, x[0] + total[:, None], atol=1e-5)


@pytest.mark.once
@pytest.mark.parametrize("reference", [False, True])
def test_the_generation_branch_has_one_too(reference, clouds):
    points, _ = clouds
    method = peft.MoST(3, fusions=0, reference=reference)
    backbone = models.PointGPTBackbone(
        peft=method, generator_depth=1, **PLAIN
    )
    rng = np.random.default_rng(0)
    for variable in backbone.trainable_variables:
        variable.assign(0.3 * rng.normal(size=variable.shape))
    bias = backbone.get_layer("generator").blocks[0].tuner.monarch.bias
    generated = []
    for change in (0.0, 1.0):
        # No norm behind it takes that for a shift of all channels.
        bias.assign(bias.numpy() + change * np.arange(24))
        found = backbone(points)["generated_points"]
        generated.append(ops.convert_to_numpy(found))
    assert np.isfinite(generated).all()
    assert np.abs(generated[1] - generated[0]).max() > 1e-3
    graphs = backbone.get_layer("tuner_geometry").output
    sizes = [graph.shape[1] for graph in keras.tree.flatten(graphs)]
    assert sorted(sizes) == ([8, 8] if reference else [7, 8])
    assert not [v for v in backbone.variables if "tuner_fusion" in v.path]


@pytest.mark.once
def test_it_cannot_be_merged_and_says_why():
    with pytest.raises(ValueError, match="cannot be merged.*Received"):
        small_classifier(peft.MoST(3)).merge()


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments",
    [{"monarch_blocks": 0}, {"num_neighbors": 0}, {"fusions": -1}],
)
def test_numbers_are_positive(arguments):
    with pytest.raises(ValueError, match="positive integer.*Received"):
        peft.MoST(**arguments)
