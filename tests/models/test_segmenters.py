import keras
import numpy as np
import pytest

from keras_pointpeft import models
from keras_pointpeft.data import Room
from keras_pointpeft.data import RoomDataset
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import GFT
from keras_pointpeft.peft import Full
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.peft import PointPEFT

PARTS = ((0, 1), (2, 3), (4, 5))
BACKBONES = (
    models.PointMAEBackbone,
    models.PointBERTBackbone,
    models.ACTBackbone,
    models.ReConBackbone,
    models.PointGPTBackbone,
    models.PointM2AEBackbone,
)
METHODS = {
    "full": Full,
    "linear": LinearProbe,
    "dapt": lambda: DAPT(rank=4),
    "gft": lambda: GFT(4, 4, (8, 8), 8, rank=8),
    "pointpeft": lambda: PointPEFT(
        prior=False, prompt_blocks=1, num_prompts=4, adapter_rank=4
    ),
}


def make_backbone(kind=models.PointMAEBackbone, peft=None, **kwargs):
    if kind is models.PointM2AEBackbone:
        return kind((16, 8, 4), (8, 4, 4), (12, 18, 24), (1, 1, 1), peft=peft)
    sizes = {"num_groups": 8, "group_size": 8, "dim": 24, "depth": 3, **kwargs}
    return kind(num_heads=3, encoder_dims=(8, 12, 16), peft=peft, **sizes)


def make_parts(kind=models.PointMAEBackbone, peft=None):
    backbone = make_backbone(kind, peft)
    dims = (16, 24 if backbone.decoder == "graph" else 12)
    return models.PartSegmenter(
        backbone, 6, 3, PARTS, propagation_dims=dims, head_dims=(16, 8)
    )


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    category = np.arange(4, dtype="int32") % 3
    labels = 2 * category[:, None] + rng.integers(0, 2, (4, 64))
    points = rng.normal(size=(4, 64, 3)).astype("float32")
    return {"points": points, "category": category}, labels


def backbones():
    """On every backend one for each decoder, the others once."""
    seen = set()
    for kind in BACKBONES:
        marks = pytest.mark.once if kind.decoder in seen else ()
        seen.add(kind.decoder)
        yield pytest.param(kind, marks=marks)


@pytest.mark.parametrize("kind", backbones())
def test_every_backbone_gives_probabilities_of_parts(kind, batch):
    inputs, _ = batch
    model = make_parts(kind)
    scores = model.predict(inputs, verbose=0)
    assert scores.shape == (4, 64, 6) and scores.dtype == np.float32
    np.testing.assert_allclose(np.exp(scores).sum(-1), 1, atol=1e-4)
    # The category is read.
    other = {**inputs, "category": (inputs["category"] + 1) % 3}
    assert np.abs(model.predict(other, verbose=0) - scores).max() > 1e-4
    parts = model.predict_parts(inputs["points"], inputs["category"])
    assert (parts // 2 == inputs["category"][:, None]).all()
    dense = model.backbone.dense()(inputs["points"])
    assert len(dense["tokens"]) == len(dense["centers"]) == 3


@pytest.mark.once
@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_and_keeps_its_adapter(method, batch, tmp_path):
    inputs, labels = batch
    model = make_parts(peft=METHODS[method]())
    frozen = {
        v.path: keras.ops.convert_to_numpy(v)
        for v in model.backbone.weights
        if not v.trainable and "moving" not in v.path
        if "seed" not in v.path
    }
    history = model.fit(inputs, labels, epochs=2, verbose=0).history
    assert {"loss", "class_miou", "instance_miou"} <= set(history)
    for variable in model.backbone.weights:
        if variable.path in frozen:
            found = keras.ops.convert_to_numpy(variable)
            np.testing.assert_array_equal(found, frozen[variable.path])
    before = model.predict(inputs, verbose=0)
    model.save_adapter(tmp_path / "adapter")
    model.save_to_preset(tmp_path / "preset")
    again = models.PartSegmenter.from_preset(str(tmp_path / "preset"))
    np.testing.assert_allclose(
        again.predict(inputs, verbose=0), before, atol=1e-6
    )
    model.fit(inputs, labels, epochs=1, verbose=0)
    if method != "full":
        model.load_adapter(tmp_path / "adapter")
        found = model.predict(inputs, verbose=0)
        np.testing.assert_allclose(found, before, atol=1e-6)


@pytest.mark.once
def test_the_keras_file_comes_back(batch, tmp_path):
    inputs, _ = batch
    model = make_parts(peft=DAPT(rank=4))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert again.category_parts == PARTS
    np.testing.assert_allclose(
        again.predict(inputs, verbose=0),
        model.predict(inputs, verbose=0),
        atol=1e-6,
    )


@pytest.mark.once
def test_without_class_token_weights_are_a_subset(batch):
    from keras_pointpeft.adapters.copying import copy_weights

    sizes = {"num_groups": 8, "group_size": 8, "dim": 24, "depth": 3}
    sizes = {**sizes, "num_heads": 3, "encoder_dims": (8, 12, 16)}
    source = models.PointMAEBackbone(**sizes)
    target = models.PointMAEBackbone(use_class_token=False, **sizes)
    copy_weights(source, target)
    theirs = {v.path: keras.ops.convert_to_numpy(v) for v in source.weights}
    for variable in target.weights:
        found = keras.ops.convert_to_numpy(variable)
        np.testing.assert_array_equal(found, theirs[variable.path])
    assert "class_tokens" not in target.output
    assert target.head_inputs["class_token"] is None


# Parts, whose model is much the same, are learnt on every backend.
@pytest.mark.once
def test_scenes(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 2, (3000, 3)).astype("float32")
    labels = (points[:, 2] > 1).astype("int32")
    room = Room(points, labels, "room")
    model = models.SemanticSegmenter(
        make_backbone(peft=DAPT(rank=4)),
        2,
        class_weights=(1.0, 2.0),
        propagation_dims=(16, 12),
        head_dims=(16,),
    )
    batches = RoomDataset(
        [room], batch_size=4, num_points=64, steps=20, column_min_points=64
    )
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(batches, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    found = model.predict_room(room, num_points=64, votes=2)
    assert found.shape == (3000,) and (found == labels).mean() > 0.7
    np.testing.assert_array_equal(
        model.predict_room(points, num_points=64, votes=2), found
    )
    config = model.get_config()
    assert config["class_weights"] == (1.0, 2.0)


@pytest.mark.once
@pytest.mark.parametrize("depth", (1, 2, 4))
def test_any_depth_has_blocks_for_segmentation(depth, batch):
    backbone = make_backbone(peft=DAPT(rank=4), depth=depth)
    expected = {1: (0, 0, 0), 2: (0, 0, 1), 4: (0, 1, 3)}
    assert backbone.dense_blocks == expected[depth]
    model = models.SemanticSegmenter(
        backbone, 2, propagation_dims=(16, 12), head_dims=(16,)
    )
    assert model.predict(batch[0]["points"], verbose=0).shape == (4, 64, 2)


@pytest.mark.once
def test_errors():
    backbone = make_backbone()
    with pytest.raises(ValueError, match="category_parts.*Received"):
        models.PartSegmenter(backbone, 6, 3, ((0, 1), (2, 9), (4,)))
    with pytest.raises(
        ValueError, match="num_classes.*Received: num_classes=0"
    ):
        models.SemanticSegmenter(backbone, 0)
    with pytest.raises(ValueError, match="must have 3 entries"):
        models.SemanticSegmenter(backbone, 3, class_weights=(1.0,))
    with pytest.raises(ValueError, match="last block of each stage"):
        make_backbone(models.PointM2AEBackbone).dense((0,))
