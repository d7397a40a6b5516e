import json
import re
import shutil

import keras
import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import presets
from keras_pointpeft.data import scanobjectnn
from keras_pointpeft.files import downloads
from keras_pointpeft.peft import DAPT
from keras_pointpeft.presets import WeightsNotFound
from keras_pointpeft.presets import cards
from keras_pointpeft.training import Recipe

pytestmark = pytest.mark.once

METHODS = ("dapt", "full", "linear")
SCANS = ("scanobjectnn", "scanobjectnn_objbg", "scanobjectnn_objonly")


def trained(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def values(model):
    """All weights by path, but the states of random generators."""
    return {
        v.path: keras.ops.convert_to_numpy(v)
        for v in model.weights
        if "seed_generator" not in v.path
    }


def same(a, b, but=r"$^"):
    """Whether all weights but those matching `but` are equal."""
    a, b = values(a), values(b)
    return all(
        np.array_equal(a[path], b[path])
        for path in a
        if not re.search(but, path)
    )


def scramble(model, seed=0):
    """Gives every weight another value, so that loading can be seen."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "seed_generator" not in variable.path:
            value = rng.uniform(0.5, 1.5, variable.shape)
            variable.assign(value.astype("float32"))


# === Names and cards ===


def test_names_are_the_products():
    names = presets.list_presets()
    for method in METHODS:
        for dataset in (*SCANS, "modelnet40"):
            assert f"{method}_pointmae_{dataset}" in names
        assert f"{method}_pointmaetiny_shapes" in names
    assert {"pointmae_shapenet", "pointmaetiny_shapes"} <= set(names)
    assert names == sorted(set(names))
    assert keras_pointpeft.list_presets("dapt_pointm?e_modelnet40") == [
        "dapt_pointmae_modelnet40"
    ]


@pytest.mark.parametrize("name", presets.list_presets())
def test_preset_is_complete(name):
    preset = presets.resolve(name)
    assert preset.name == name
    assert hasattr(keras_pointpeft.models, preset.backbone_class)
    assert presets.resolve(preset.pretrained).backbone == preset.backbone
    if preset.method is None:
        return
    assert hasattr(keras_pointpeft.peft, preset.method_class)
    assert hasattr(keras_pointpeft.models, preset.task_class)
    assert preset.loader in keras_pointpeft.data.list_datasets()
    # Of parts, the classes of clouds are categories.
    classes = preset.task_config["num_classes"]
    classes = preset.task_config.get("num_categories", classes)
    assert len(preset.class_names) == classes
    assert preset.num_points >= np.max(preset.backbone_config["num_groups"])
    recipe = Recipe.from_dict(preset.recipe, num_points=preset.num_points)
    assert recipe.epochs > 0
    assert preset.trained_parameters > 0


def test_combination_specific_values():
    def dapt(dataset):
        return presets.resolve(f"dapt_pointmae_{dataset}")

    assert dapt("modelnet40").method_config["rank"] == 72
    assert dapt("scanobjectnn").method_config["rank"] == 64
    assert dapt("scanobjectnn").method_config["dropout"] == 0.2
    assert dapt("scanobjectnn_objbg").method_config["dropout"] == 0.5
    assert dapt("scanobjectnn_objonly").method_config["dropout"] == 0.0
    assert dapt("scanobjectnn_objonly").method_config["patch_token"] is None
    assert dapt("modelnet40").method_config["prompt_token"] is None
    assert dapt("scanobjectnn").backbone_config["drop_path_rate"] == 0.3
    assert dapt("modelnet40").backbone_config["drop_path_rate"] == 0.1
    assert dapt("scanobjectnn").backbone_config["num_groups"] == 128
    assert dapt("modelnet40").backbone_config["num_groups"] == 64
    tiny = presets.resolve("dapt_pointmaetiny_shapes")
    assert tiny.method_config["rank"] == 16
    full = presets.resolve("full_pointmae_scanobjectnn")
    assert full.backbone_config["drop_path_rate"] == 0.1
    linear = presets.resolve("linear_pointmae_scanobjectnn")
    assert linear.backbone_config["drop_path_rate"] == 0.0


def test_class_names_are_those_of_the_loaders():
    for name in SCANS:
        preset = presets.resolve(f"linear_pointmae_{name}")
        assert preset.class_names == scanobjectnn.CLASS_NAMES
    shapes = keras_pointpeft.data.shapes.CATEGORIES
    preset = presets.resolve("linear_pointmaetiny_shapes")
    assert preset.class_names == shapes
    modelnet = presets.resolve("linear_pointmae_modelnet40").class_names
    assert len(set(modelnet)) == 40 and list(modelnet) == sorted(modelnet)


def test_unknown_names_name_close_ones(tmp_path):
    with pytest.raises(ValueError, match="dapt_pointmae_modelnet40.*Received"):
        presets.resolve("dapt_pointmae_modelnet")
    with pytest.raises(ValueError, match="dapt_pointmae_scanobjectnn"):
        keras_pointpeft.from_preset("dapt_pontmae_scanobjectnn")
    with pytest.raises(ValueError, match="directory.*Received: 'zzzzzz'"):
        keras_pointpeft.from_preset("zzzzzz")


def build_key(name):
    """Equal for presets that build the same model."""
    preset = presets.resolve(name)
    parts = preset.backbone_class, preset.backbone_config, preset.task_config
    method = preset.method_class, preset.method_config
    return json.dumps([*parts, *method], sort_keys=True)


@pytest.fixture(scope="module")
def built():
    """Builds each distinct model once.

    What is counted has no values: to draw them takes a quarter of the time.
    """
    counts = {}

    def zeros(self, shape, dtype=None):
        return keras.ops.zeros(shape, dtype)

    drawn = keras.initializers.VarianceScaling

    def count(name):
        key = build_key(name)
        if key not in counts:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(drawn, "__call__", zeros)
                model = keras_pointpeft.from_preset(name, load_weights=False)
            counts[key] = trained(model)
        return counts[key]

    return count


# Hundreds of millions of parameters; or the same ones as another's.
LARGE = ("pointgptb", "pointgptl", "pointpqae", "pointmaesmall")
# Of the other methods, a few presets stand for all.
CENTRAL = ("dapt", "full", "linear", "pointpeft")
FEW = (
    "_pointmae_scanobjectnn",
    "_pointm2aetiny_shapes",
    "_pointgpts_modelnet40",
)
# These run on every data set of two backbones. Elsewhere one of clouds and one
# of parts stand for the others, whose heads have more or fewer classes.
EVERYWHERE = ("_pointmae_", "_pointmaetiny_")
DATASETS = ("_scanobjectnn", "_shapenetpart", "_shapes", "_shapesparts")


def takes_long(name):
    preset = presets.resolve(name)
    if preset.method is None or name.endswith(FEW):
        return preset.backbone in LARGE
    every = any(part in name for part in EVERYWHERE)
    central = preset.method in CENTRAL
    runs = central and (every or name.endswith(DATASETS))
    return preset.backbone in LARGE or not runs


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.slow if takes_long(name) else (),
        )
        for name in presets.list_presets()
    ],
)
def test_preset_builds_and_trains_what_its_card_says(name, built):
    preset = presets.resolve(name)
    expected = preset.trained_parameters
    if preset.method is None:
        card = cards.read_cards("backbones")[preset.backbone]
        expected = card["parameters"]
    assert built(name) == expected


# === A zoo of small models ===


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A copy of the zoo with a micro backbone and two data sets for it."""
    folder = tmp_path / "zoo"
    shutil.copytree(cards.zoo_directory(), folder)

    def write(path, card):
        (folder / path).write_text(json.dumps(card))

    trunk = cards.read_cards("backbones")["pointmaetiny"]
    sizes = {"dim": 24, "depth": 2, "num_heads": 3, "num_groups": 4}
    sizes |= {"group_size": 4, "encoder_dims": [8, 8, 16]}
    card = {**trunk, "tier": "micro", "pretrained_on": "dust"}
    card |= {"config": sizes, "by_num_points": {"16": {"num_groups": 3}}}
    write("backbones/micro.json", card)
    data = cards.read_cards("datasets")["shapes"]
    data = {**data, "tier": "micro", "num_points": 8, "num_classes": 3}
    write("datasets/dust.json", {**data, "class_names": ["a", "b", "c"]})
    write("datasets/sand.json", {"extends": "dust", "num_points": 16})
    write("weights.json", {})
    monkeypatch.setattr(cards, "zoo_directory", lambda: folder)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return folder


def ship(zoo, name, model, format="keras", **entry):
    """Puts a model's weights into the zoo, under the preset's name."""
    file = name if format == "adapter" else f"{name}.weights.h5"
    if format == "adapter":
        model.save_adapter(zoo / "weights" / file)
    else:
        model.save_weights(zoo / "weights" / file)
    announce(zoo, name, {"file": file, "format": format, **entry})


def announce(zoo, name, entry):
    """Adds an entry to `weights.json`."""
    entries = {**cards.read_weights(), name: entry}
    (zoo / "weights.json").write_text(json.dumps(entries))
    cards._read_weights.cache_clear()


def points(count=2, size=8):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, size, 3)).astype("float32")


def test_new_cards_add_their_products(zoo):
    names = presets.list_presets("*micro*")
    methods = cards.read_cards("methods")
    assert set(METHODS) <= set(methods)
    # A card that names its backbones is for no others.
    expected = {
        f"{name}_micro_{dataset}"
        for name, card in methods.items()
        for dataset in ("dust", "sand")
        if "backbones" not in card
    }
    assert set(names) == {*expected, "micro_dust"}
    assert presets.resolve("dapt_micro_sand").backbone_config["num_groups"] == 3
    assert presets.resolve("dapt_micro_sand").class_names == ("a", "b", "c")


def test_a_card_with_a_slip_is_named(zoo):
    card = json.loads((zoo / "methods" / "dapt.json").read_text())
    card["overides"] = card.pop("overrides")
    (zoo / "methods" / "dapt.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="methods/dapt.json.*overides"):
        presets.list_presets()


def test_no_weights_is_an_error_with_ways_on(zoo):
    for name in ("micro_dust", "dapt_micro_dust"):
        with pytest.raises(WeightsNotFound) as error:
            keras_pointpeft.from_preset(name)
        message = str(error.value)
        assert "'micro_dust'" in message
        assert "scripts/convert_checkpoint.py" in message
        assert "load_weights=False" in message


def test_backbone_weights(zoo):
    backbone = keras_pointpeft.from_preset("micro_dust", load_weights=False)
    scramble(backbone)
    ship(zoo, "micro_dust", backbone)
    assert same(backbone, keras_pointpeft.from_preset("micro_dust"))


def test_tuned_preset_without_weights_gets_the_backbone(zoo, caplog):
    backbone = keras_pointpeft.from_preset("micro_dust", load_weights=False)
    scramble(backbone)
    ship(zoo, "micro_dust", backbone)
    caplog.set_level("WARNING", logger="absl")
    model = keras_pointpeft.from_preset("dapt_micro_dust")
    assert same(backbone, model.backbone)
    assert "micro_dust" in caplog.text and "fresh" in caplog.text
    assert model.preset == "dapt_micro_dust"


@pytest.fixture
def tuned(zoo):
    """A zoo with weights of the backbone and of a tuned preset."""
    backbone = keras_pointpeft.from_preset("micro_dust", load_weights=False)
    scramble(backbone, 1)
    ship(zoo, "micro_dust", backbone)
    model = keras_pointpeft.from_preset("dapt_micro_dust", load_weights=False)
    scramble(model, 2)
    ship(zoo, "dapt_micro_dust", model)
    return model, backbone


def test_tuned_weights(tuned):
    model, backbone = tuned
    loaded = keras_pointpeft.from_preset("dapt_micro_dust")
    assert same(model, loaded)
    np.testing.assert_array_equal(
        loaded.predict(points(), verbose=0), model.predict(points(), verbose=0)
    )


def test_only_the_backbone_on_demand(tuned):
    model, backbone = tuned
    loaded = keras_pointpeft.from_preset("dapt_micro_dust", "backbone")
    assert same(backbone, loaded.backbone)


def test_another_head_starts_fresh(tuned, caplog):
    model, _ = tuned
    caplog.set_level("WARNING", logger="absl")
    loaded = keras_pointpeft.from_preset("dapt_micro_dust", num_classes=5)
    assert same(model.backbone, loaded.backbone)
    assert loaded.predict(points(), verbose=0).shape == (2, 5)
    assert "head" in caplog.text


def test_the_same_head_is_kept(tuned):
    model, _ = tuned
    loaded = keras_pointpeft.from_preset(
        "dapt_micro_dust", num_classes=3, dropout=0.1, drop_path_rate=0.2
    )
    assert same(model, loaded)
    assert loaded.dropout == 0.1
    assert loaded.backbone.drop_path_rate == 0.2


def test_another_method_gets_the_pretrained_backbone(tuned):
    _, backbone = tuned
    for peft in (None, DAPT(rank=3)):
        loaded = keras_pointpeft.from_preset("dapt_micro_dust", peft=peft)
        assert same(backbone, loaded.backbone)


def test_shipped_adapter(tuned, zoo):
    model = keras_pointpeft.from_preset("dapt_micro_sand", "backbone")
    for variable in model.trainable_variables:
        variable.assign(variable + 1.0)
    ship(zoo, "dapt_micro_sand", model, "adapter")
    assert same(model, keras_pointpeft.from_preset("dapt_micro_sand"))


def test_shipped_file_is_checked(zoo):
    backbone = keras_pointpeft.from_preset("micro_dust", load_weights=False)
    ship(zoo, "micro_dust", backbone, sha256="0" * 64)
    with pytest.raises(ValueError, match="0000.*Received"):
        keras_pointpeft.from_preset("micro_dust")
    (zoo / "weights" / "micro_dust.weights.h5").unlink()
    with pytest.raises(WeightsNotFound, match="micro_dust.weights.h5"):
        keras_pointpeft.from_preset("micro_dust")


def test_release_comes_from_the_cache(zoo, monkeypatch):
    backbone = keras_pointpeft.from_preset("micro_dust", load_weights=False)
    scramble(backbone)
    cached = downloads.cache_directory() / "owner/w.weights.h5"
    cached.parent.mkdir(parents=True)
    backbone.save_weights(cached)
    url = "https://github.com/owner/w.weights.h5"
    sha256 = downloads.sha256_of(cached)
    announce(
        zoo, "micro_dust", {"url": url, "sha256": sha256, "format": "keras"}
    )
    assert same(backbone, keras_pointpeft.from_preset("micro_dust"))


def test_nothing_is_downloaded_without_weights(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(downloads, "fetch", refuse)
    keras_pointpeft.from_preset("dapt_pointmaetiny_shapes", load_weights=False)


def test_failed_download_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv(downloads.MIRROR_VARIABLE, tmp_path.as_uri())
    with pytest.raises(downloads.DownloadError, match="Ways on") as error:
        keras_pointpeft.from_preset("pointmae_shapenet", num_groups=4)
    assert "Point-MAE/releases/download/main/pretrain.pth" in str(error.value)


# === Arguments ===


def test_arguments_reach_their_place(zoo):
    model = keras_pointpeft.from_preset(
        "dapt_micro_dust",
        load_weights=False,
        num_groups=2,
        dtype="bfloat16",
        head_dims=(8,),
        name="mine",
    )
    assert model.backbone.num_groups == 2
    assert model.backbone.dtype_policy.name == "bfloat16"
    assert model.head_dims == (8,)
    assert model.name == "mine"


def test_unknown_arguments_are_named(zoo):
    with pytest.raises(TypeError, match="num_classes.*Received: .'foo'"):
        keras_pointpeft.from_preset("dapt_micro_dust", False, foo=1)
    with pytest.raises(TypeError, match="num_groups.*Received: .'num_classes'"):
        keras_pointpeft.from_preset("micro_dust", False, num_classes=1)
    with pytest.raises(ValueError, match="load_weights='all'"):
        keras_pointpeft.from_preset("micro_dust", "all")


# === Directories and hubs ===


@pytest.fixture
def saved(zoo, tmp_path):
    model = keras_pointpeft.from_preset("dapt_micro_dust", load_weights=False)
    scramble(model)
    model.save_to_preset(str(tmp_path / "saved"))
    return model, tmp_path / "saved"


def test_directory(saved):
    model, folder = saved
    loaded = keras_pointpeft.from_preset(folder)
    assert same(model, loaded)
    np.testing.assert_array_equal(
        loaded.predict(points(), verbose=0), model.predict(points(), verbose=0)
    )
    loaded = type(model).from_preset(str(folder))
    assert same(model, loaded)
    assert trained(loaded) == trained(model)


def test_directory_with_arguments(saved):
    model, folder = saved
    loaded = keras_pointpeft.from_preset(folder, num_classes=7)
    assert same(model.backbone, loaded.backbone)
    assert loaded.num_classes == 7
    loaded = keras_pointpeft.from_preset(folder, dropout=0.0, num_groups=2)
    assert same(model, loaded)
    assert loaded.backbone.num_groups == 2
    with pytest.raises(TypeError, match="Received: .'foo'"):
        keras_pointpeft.from_preset(folder, foo=3)


def test_directory_with_another_method(saved):
    model, folder = saved
    plain = keras_pointpeft.from_preset(folder, peft=None)
    assert plain.backbone.peft is None
    assert not [path for path in values(plain) if "tuner" in path]
    assert same(plain.backbone, model.backbone)
    other = keras_pointpeft.from_preset(folder, peft=DAPT(rank=2))
    assert same(plain.backbone, other.backbone)


def test_directory_without_weights(saved):
    model, folder = saved
    (folder / "model.weights.h5").unlink()
    with pytest.raises(WeightsNotFound, match="model.weights.h5"):
        keras_pointpeft.from_preset(folder)
    loaded = keras_pointpeft.from_preset(folder, load_weights=False)
    assert trained(loaded) == trained(model)


def test_directory_of_a_backbone(zoo, tmp_path):
    backbone = keras_pointpeft.from_preset("micro_dust", load_weights=False)
    scramble(backbone)
    backbone.save_to_preset(str(tmp_path / "saved"))
    loaded = keras_pointpeft.from_preset(tmp_path / "saved")
    assert same(backbone, loaded)


def test_directories_that_are_no_presets(tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        keras_pointpeft.from_preset(tmp_path)
    config = {"registered_name": "keras_hub>ViTBackbone", "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="keras_hub>ViTBackbone"):
        keras_pointpeft.from_preset(tmp_path)


@pytest.mark.parametrize(
    "handle, client, function",
    [
        ("hf://me/mine", "huggingface_hub", "snapshot_download"),
        ("kaggle://me/m/keras/mine", "kagglehub", "model_download"),
    ],
)
def test_hubs(saved, monkeypatch, handle, client, function):
    model, folder = saved
    asked = []

    def download(name, **kwargs):
        asked.append(name)
        return str(folder)

    module = pytest.importorskip(client)
    monkeypatch.setattr(module, function, download)
    assert same(model, keras_pointpeft.from_preset(handle))
    assert asked == [handle.partition("://")[2]]


@pytest.mark.parametrize("handle", ["hf://mine", "kaggle://a/b", "s3://a/b"])
def test_handles_of_another_form(handle):
    with pytest.raises(ValueError, match=re.escape(handle)):
        keras_pointpeft.from_preset(handle)
