import pytest

from keras_pointpeft import presets
from keras_pointpeft.experiments import runs

pytestmark = pytest.mark.once

CLOUDS = "dapt_pointmae_scanobjectnn"
ROOMS = "dapt_act_s3dis"


@pytest.mark.parametrize(
    "name, changes, limit, words",
    [
        (CLOUDS, {}, None, ""),
        (CLOUDS, {"seed": 3, "epochs": 70}, None, ""),
        (CLOUDS, {"epochs": 7}, None, ", rate by update"),
        (CLOUDS, {"epochs": 7, "schedule": "epoch"}, None, ""),
        (CLOUDS, {"num_points": 1024}, None, ", 1024 points"),
        (CLOUDS, {"learning_rate": 1e-3}, 600, ", learning rate 0.001, of 600"),
        (ROOMS, {"batch_size": 2}, 4, ", batch size 2, of 4 rooms"),
    ],
)
def test_a_protocol_tells_what_the_recipe_does_not(name, changes, limit, words):
    preset = presets.resolve(name)
    usual = runs.protocol_of(runs.recipe_for(preset), preset)
    recipe = runs.recipe_for(preset, **changes)
    protocol = runs.protocol_of(recipe, preset, limit)
    assert protocol.removesuffix(" clouds") == usual + words


def test_a_data_set_is_named_with_its_area():
    assert runs.dataset_name("s3dis") == "s3dis"
    assert runs.dataset_name("my_rooms", "2") == "my_rooms_area2"


def test_a_backbone_from_a_directory_may_keep_more_or_less(tmp_path):
    """How much is kept for the backward pass is no part of what it is."""
    backbone = presets.from_preset("pointmaetiny_shapes")
    backbone.remat = "block"
    backbone.save_to_preset(tmp_path)
    preset = presets.resolve("linear_pointmaetiny_shapes")
    recipe = runs.recipe_for(preset)
    model = runs.build_model(preset, recipe, backbone_dir=str(tmp_path))
    assert model.backbone.remat == recipe.remat != "block"
    other = presets.resolve("linear_pointmae_scanobjectnn")
    with pytest.raises(ValueError, match="dim: 128 there, 384 here"):
        runs.build_model(other, recipe, backbone_dir=str(tmp_path))
