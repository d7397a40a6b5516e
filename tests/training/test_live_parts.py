"""Which parts of a method let something through, counted by hand."""

import warnings

import numpy as np
import pytest
from keras import ops

from keras_pointpeft import training
from keras_pointpeft.data import Split
from keras_pointpeft.models.watching import BlockReader
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import GAPrompt
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.peft import PointGST
from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.training import live_parts
from tests.conftest import small_backbone
from tests.conftest import small_classifier


def shares_of(backbone, points):
    return training.live_shares(BlockReader(backbone)(points)[1])


def adapters(model):
    return [
        model.backbone.get_layer(f"block_{i}").tuner.adapter for i in range(2)
    ]


@pytest.fixture
def model(clouds):
    """The first block's scale is shut by hand, the second's is 1."""
    model = small_classifier(DAPT(rank=4, scale_start="one"))
    model(clouds[0])
    first, _ = adapters(model)
    first.scale.bias.assign([-1.0])
    return model


def test_a_scale_that_is_shut_by_hand(model, clouds):
    assert shares_of(model.backbone, clouds[0]) == {
        "block_0": {"scale": 0.0},
        "block_1": {"scale": 1.0},
    }


@pytest.mark.once
def test_the_share_of_tokens(model, clouds):
    # The scale is one channel of the normalized token, less a threshold that
    # a third of the tokens pass.
    _, adapter = adapters(model)
    kernel = np.zeros(adapter.scale.kernel.shape, "float32")
    kernel[5] = 1
    adapter.scale.kernel.assign(kernel)
    adapter.scale.bias.assign([100.0])
    seen = BlockReader(model.backbone)(clouds[0])[1]["block_1"]
    values = ops.convert_to_numpy(ops.stop_gradient(seen["token_scale"]))
    values = np.sort(values.ravel() - 100)
    count = len(values) // 3
    adapter.scale.bias.assign([-(values[-count] + values[-count - 1]) / 2])
    share = shares_of(model.backbone, clouds[0])["block_1"]["scale"]
    assert share == count / len(values)


@pytest.mark.once
def test_other_methods_say_what_their_parts_are(clouds):
    points, _ = clouds
    prompts = {"prior": False, "num_prompts": 4, "adapter_rank": 4}
    told = {
        PointPEFT(prompt_blocks=1, **prompts): {"adapter"},
        PointPEFT(prompt_blocks=1, gated=True, **prompts): {"adapter", "gate"},
        PointGST(rank=4): {"adapter"},
        GAPrompt(num_prompts=4, adapter_rank=4, prompt_blocks=1): {"adapter"},
        LinearProbe(): set(),
        None: set(),
    }
    for method, parts in told.items():
        shares = shares_of(small_backbone(method), points)
        assert len(shares) == (2 if parts else 0)
        assert all(set(own) == parts for own in shares.values())


@pytest.mark.once
def test_a_gate_that_starts_at_zero_counts_its_entries(clouds):
    method = PointPEFT(
        prior=False,
        num_prompts=4,
        adapter_rank=4,
        prompt_blocks=2,
        prompt_place="attention",
    )
    backbone = small_backbone(method, num_heads=6)
    gate = backbone.get_layer("block_1").tuner.attention_gate
    gate.assign(np.array([0, 0, 1, 0, -1, 0.5]).reshape(gate.shape))
    shares = shares_of(backbone, clouds[0])
    assert shares["block_0"]["attention gate"] == 0
    assert shares["block_1"]["attention gate"] == 0.5


@pytest.mark.once
def test_the_callback_logs_and_warns(model, clouds, capfd):
    points, labels = clouds
    live = training.LiveParts(points)
    with pytest.warns(UserWarning, match="block_0: scale") as told:
        history = model.fit(
            points, labels, epochs=2, batch_size=6, verbose=0, callbacks=[live]
        )
    assert len([w for w in told if "scale" in str(w.message)]) == 1
    assert [own["block_0"]["scale"] for own in live.shares] == [0, 0, 0]
    assert live.shares[0]["block_1"]["scale"] == 1
    assert history.history["live_block_0_scale"] == [0, 0]
    after = history.history["live_block_1_scale"][-1]
    assert history.history["live_parts"][-1] == pytest.approx(after / 2)
    assert "scale lets 0, 100 % through" in capfd.readouterr().err


@pytest.mark.once
def test_what_opens_is_not_warned_of(clouds):
    points, labels = clouds
    model = small_classifier(DAPT(rank=4, scale_start="one", scale_leak=0.1))
    with warnings.catch_warnings(record=True) as told:
        model.fit(
            points,
            labels,
            batch_size=6,
            verbose=0,
            callbacks=[training.LiveParts(points)],
        )
    assert not [w for w in told if "let nothing through" in str(w.message)]


@pytest.mark.once
def test_a_method_without_parts_logs_nothing(clouds):
    points, labels = clouds
    live = training.LiveParts(points)
    history = small_classifier(LinearProbe()).fit(
        points, labels, batch_size=6, verbose=0, callbacks=[live]
    )
    assert live.shares == [{}, {}]
    assert not [name for name in history.history if "live" in name]


@pytest.mark.once
def test_behind_a_recipe(clouds, tmp_path):
    points, labels = clouds
    split = Split(points, labels, ("a", "b", "c"))
    model = small_classifier(DAPT(rank=4, scale_start="one"))
    recipe = training.Recipe(
        epochs=2,
        batch_size=6,
        num_points=32,
        sampling="random",
        evaluation_sampling="first",
        selection="last",
    )
    live = training.LiveParts.of(model, split, recipe, count=4)
    assert live.points.shape == (4, 32, 3)
    result = training.train(
        model, split, split, recipe, log_dir=tmp_path, callbacks=[live]
    )
    logged = [row["live_block_0_scale"] for row in result.history]
    shares = live.shares
    expected = [own["block_0"]["scale"] for own in shares[1:]]
    assert logged == pytest.approx(expected, abs=1e-4)
    assert "live_block_1_scale" in (tmp_path / "log.csv").read_text()
    times = live_parts.by_time(shares[0], result.history, shares[-1])
    assert list(times) == ["before", "after epoch 1", "after epoch 2", "now"]
    assert times["before"] is shares[0] and times["now"] is shares[2]
    for block, own in times["after epoch 2"].items():
        assert own == pytest.approx(shares[2][block], abs=1e-4)
