"""GFT, beside its recorded cases."""

import numpy as np
import pytest
from keras import ops

from keras_pointpeft.models import PartSegmenter
from keras_pointpeft.models import PointM2AEBackbone
from keras_pointpeft.peft import GFT
from keras_pointpeft.peft.gft.cross_attention import GraphAttention
from tests.conftest import small_backbone

SMALL = {
    "num_prompts": 3,
    "num_neighbors": 4,
    "graph_dims": (8, 6),
    "graph_dim": 10,
    "rank": 8,
    "num_heads": 2,
}


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_dropout_of_attention_is_of_its_weights():
    tokens, graph = draw(2, 5, 12), draw(2, 5, 10, seed=1)
    layer = GraphAttention(8, num_heads=2, dropout=0.5)
    whole = ops.convert_to_numpy(layer(tokens, graph))
    dropped = ops.convert_to_numpy(layer(tokens, graph, training=True))
    assert np.abs(dropped - whole).max() > 1e-3
    # As good as none is dropped: the weights by hand, not by the kernel.
    layer.drop.rate = 1e-7
    found = ops.convert_to_numpy(layer(tokens, graph, training=True))
    np.testing.assert_allclose(found, whole, atol=1e-5)


@pytest.mark.once
def test_every_third_block_looks_at_the_graph():
    backbone = small_backbone(GFT(**SMALL), depth=5)
    tuned = [backbone.get_layer(f"block_{i}").tuner for i in range(5)]
    assert [x is not None for x in tuned] == [True, False, False, True, False]
    assert backbone.output["prompt_tokens"].shape == (None, 3, 24)
    parts = {backbone.peft.component(v.path) for v in backbone.weights}
    assert set(GFT.components) <= parts


@pytest.mark.once
def test_stages_have_graphs_of_their_own_and_their_usual_decoder(clouds):
    backbone = PointM2AEBackbone(
        (16, 8, 4), (8, 4, 4), (12, 18, 24), (1, 1, 1), peft=GFT(**SMALL)
    )
    names = {la.name for la in backbone.layers}
    assert {f"tuner_tokens_{i}" for i in range(3)} <= names
    model = PartSegmenter(
        backbone, 6, 2, propagation_dims=(16, 12), head_dims=(16, 8)
    )
    assert model.get_layer("propagation_2") is not None
    inputs = {"points": clouds[0], "category": np.arange(6) % 2}
    scores = ops.convert_to_numpy(model(inputs))
    assert np.isfinite(scores).all()


@pytest.mark.once
def test_heads_divide_the_rank():
    with pytest.raises(ValueError, match="must divide.*Received"):
        GFT(rank=8, num_heads=3)


@pytest.mark.once
@pytest.mark.parametrize(
    "dims, told", [((), "at least one"), ((64, 0), "positive integer")]
)
def test_graph_dims_are_widths(dims, told):
    with pytest.raises(ValueError, match=f"{told}.*Received: graph_dims"):
        GFT(graph_dims=dims)
