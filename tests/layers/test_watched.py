"""What `TransformerBlock.watched` says is what the block computes."""

import numpy as np
import pytest
from keras import ops

from keras_pointpeft.layers import ContrastTokens
from keras_pointpeft.layers import TransformerBlock
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import PrefixTuning
from keras_pointpeft.peft import Where


def tokens(seed=0, count=7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, count, 24)).astype("float32")


def tuner(method):
    return method.block_tuner(Where(24, depth=2))


@pytest.mark.parametrize("case", ["plain", "dapt", "prefix", "causal", "mask"])
def test_attention_is_the_block_s(case):
    made = {
        "dapt": lambda: tuner(DAPT(rank=4)),
        "prefix": lambda: tuner(PrefixTuning()),
    }
    block = TransformerBlock(
        24,
        3,
        causal=case == "causal",
        tuner=made[case]() if case in made else None,
    )
    x, mask = ops.convert_to_tensor(tokens()), None
    if case == "mask":
        mask = np.random.default_rng(1).random((1, 7, 7)) < 0.5
        mask = ops.convert_to_tensor(mask | np.eye(7, dtype=bool))
    output = ops.convert_to_numpy(block(x, None, mask))
    found = block.watched(x, None, mask)
    np.testing.assert_array_equal(ops.convert_to_numpy(found["output"]), output)
    weights = ops.convert_to_numpy(found["attention"])
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)

    # Its own mix of its own values is what the block's attention gives.
    mixed = {}
    attend = block._attend

    def keep(qkv, mask, tuner):
        mixed["values"] = block._attended(qkv, mask, tuner)[2]
        mixed["result"] = attend(qkv, mask, tuner)
        return mixed["result"]

    block._attend = keep
    block.watched(x, None, mask)
    values = ops.convert_to_numpy(mixed["values"])
    expected = np.einsum("bhqk,bkhw->bqhw", weights, values)
    np.testing.assert_allclose(
        ops.convert_to_numpy(mixed["result"]),
        expected.reshape(2, 7, 24),
        atol=1e-5,
    )


def test_scale_is_the_adapter_s():
    block = TransformerBlock(24, 3, tuner=tuner(DAPT(rank=4)))
    x = ops.convert_to_tensor(tokens())
    block(x)
    adapter = block.tuner.adapter
    adapter.up.kernel.assign(np.random.default_rng(0).normal(size=(4, 24)))
    seen = {}
    call = adapter.call

    def keep(inputs, training=False):
        seen["side"] = call(inputs, training=training)
        seen["inputs"] = inputs
        return seen["side"]

    adapter.call = keep
    scale = block.watched(x)["token_scale"]
    hidden = ops.gelu(
        adapter.down(adapter.norm(seen["inputs"])), approximate=False
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(scale * adapter.up(hidden)),
        ops.convert_to_numpy(seen["side"]),
        atol=1e-6,
    )
    plain = TransformerBlock(24, 3)
    assert "token_scale" not in plain.watched(x)


def test_contrast_tokens_have_an_attention_of_their_own():
    block = TransformerBlock(24, 3, contrast=ContrastTokens(24, 3))
    x = ops.convert_to_tensor(tokens())
    output = block(x)
    found = block.watched(x)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(found["output"]), ops.convert_to_numpy(output)
    )
    assert found["attention"].shape == (2, 3, 4, 4)
    weights = ops.convert_to_numpy(found["contrast_attention"])
    assert weights.shape == (2, 3, 3, 4)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
