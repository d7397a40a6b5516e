"""Every weight that is called released loads, on every door."""

import http.server
import json
import threading

import keras
import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import arguments
from keras_pointpeft import checkpoints
from keras_pointpeft import peft
from keras_pointpeft import presets
from keras_pointpeft.checkpoints import loading
from keras_pointpeft.files import downloads
from keras_pointpeft.peft.method import weights_of
from keras_pointpeft.presets import cards
from keras_pointpeft.presets import published
from tests.checkpoints import releases

pytestmark = pytest.mark.once
torch = pytest.importorskip("torch")
ENTRIES = {
    name: entry
    for name, entry in cards.read_weights().items()
    if entry["format"] == "pth"
}


class Files(http.server.BaseHTTPRequestHandler):
    """A release host: files by their path."""

    def do_GET(self):
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def host():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.files = {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mirror(host, tmp_path, monkeypatch):
    host.files.clear()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(downloads.MIRROR_VARIABLE, host.url)
    return host


@pytest.fixture(scope="module")
def kept():
    """Models that were built before, by what they were built of."""
    return {}


@pytest.fixture
def few_builds(kept, monkeypatch):
    """Models of the same kind are built once, and filled anew."""
    plain = published.build

    def build(description, **kwargs):
        key = (
            description.backbone_class,
            description.method_class,
            description.task_class,
            description.backbone_config,
            description.method_config,
            description.task_config,
            kwargs,
        )
        key = json.dumps(key, sort_keys=True, default=str)
        if key not in kept:
            kept[key] = plain(description, **kwargs)
        for variable in weights_of(kept[key]).values():
            variable.assign(np.full(variable.shape, 7.0))
        return kept[key]

    monkeypatch.setattr(published, "build", build)


def address(name):
    """Where a mirror has an entry's file."""
    if "browser" in ENTRIES[name]:
        return f"/by_hand/{name}.pth"
    return downloads.mirrored(ENTRIES[name]["url"], "https://h")[9:]


def save(state, path):
    tensors = {name: torch.as_tensor(value) for name, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"base_model": tensors, "epoch": 299}, path)
    return path


def check(model, state, release):
    """The model holds what the file says, and gives it back."""
    source, plain = checkpoints.identify(state, type(model).__name__)
    written = checkpoints.published_state(
        model, source.stage == "pre-trained"
    )
    report = checkpoints.load_into(model, state)
    assert set(report.used) | set(report.unused) == set(state)
    assert not set(report.used) & set(report.unused)
    filled = set(report.used.values()) | set(report.kept)
    assert filled | set(report.differences) == set(weights_of(model))
    for name in report.used:
        assert written[name].shape == state[name].shape, name
        np.testing.assert_array_equal(written[name], state[name], name)
    if source.stage == "fine-tuned" and "partseg" not in release.case:
        # All of it, but for second names of the same tensors.
        again = {n for n, why in report.unused.items() if "second" in why}
        assert set(written) == set(state) - again


@pytest.fixture
def any_blocks(monkeypatch):
    """A segmenter of few blocks, which would be another head, has its own."""
    known = arguments.HEAD_ARGUMENTS
    rest = tuple(name for name in known if name != "blocks")
    monkeypatch.setattr(arguments, "HEAD_ARGUMENTS", rest)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_loads(name, mirror, few_builds, any_blocks, tmp_path):
    release, state = releases.file_of(name)
    path = save(state, tmp_path / "file.pth")
    mirror.files[address(name)] = path.read_bytes()
    model = keras_pointpeft.from_preset(name, **release.arguments)
    check(model, state, release)
    if "pointgst" in name or "gaprompt" in name:
        assert model.backbone.peft.reference


# A file of each kind of address, and one that says "ReCon" and is not.
DOORS = (
    "dapt_pointmae_scanobjectnn",
    "pointbert_shapenet",
    "ppt_pointmae_modelnet40",
    "gaprompt_recon_scanobjectnn_objbg",
)


@pytest.mark.parametrize("name", DOORS)
def test_every_door(name, mirror, few_builds, tmp_path, monkeypatch):
    release, state = releases.file_of(name)
    path = save(state, tmp_path / "file.pth")
    mirror.files[address(name)] = path.read_bytes()
    keras_pointpeft.from_preset(name, **release.arguments)
    # From the cache, where the release is gone and no mirror is named.
    mirror.files.clear()
    monkeypatch.delenv(downloads.MIRROR_VARIABLE)
    check(
        keras_pointpeft.from_preset(name, **release.arguments), state, release
    )
    # A file that is named.
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    model = keras_pointpeft.from_preset(
        name, load_weights=path, **release.arguments
    )
    check(model, state, release)

    # One on a hub.
    import huggingface_hub

    asked = []

    def fetched(repo, file):
        asked.append((repo, file))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetched)
    handle = "hf://owner/name/folder/file.pth"
    model = keras_pointpeft.from_preset(
        name, load_weights=handle, **release.arguments
    )
    check(model, state, release)
    assert asked == [("owner/name", "folder/file.pth")]
    if name == "pointbert_shapenet":
        monkeypatch.setitem(loading.NUM_HEADS, 384, 6)
        model = keras_pointpeft.from_preset(handle)
        assert type(model).__name__ == "PointBERTBackbone"


def test_the_table_marks_what_this_file_loads():
    released = {
        name
        for name in presets.list_presets()
        if presets.resolve(name).weights is not None
    }
    own = {n for n in released if presets.resolve(n).weights.get("file")}
    assert released - own == set(ENTRIES)
    assert all("stage" in entry for entry in ENTRIES.values())


def recorded_methods():
    """Settings of the recorded classifiers, beside the published modes."""
    return {
        "idpt_pointmae": peft.IDPT(2, reference=True),
        "ppt_pointmae": peft.PPT(16, 8, reference=True),
        "pointgst_pointmae": peft.PointGST(12, 8, reference=True),
        "pointgst_pointgptl": peft.PointGST(12, 8, reference=True),
        "gaprompt_pointmae": peft.GAPrompt(
            num_points=5, perturbation=0.1, prompt_blocks=2, reference=True
        ),
        "full_act": None,
        "full_pcpmae": None,
    }


@pytest.mark.parametrize("name", recorded_methods())
def test_logits_are_the_recorded_ones(name, tmp_path):
    case, sizes = releases.FINE_TUNED[name]
    method = recorded_methods()[name]
    sizes = {**sizes, "depth": 3}
    if method is not None:
        sizes["peft"] = method
    path = save(releases.state_of(case), tmp_path / "file.pth")
    model = keras_pointpeft.from_preset(
        f"{name}_scanobjectnn", load_weights=path, **sizes
    )
    data = releases.clouds_of(case)
    logits = logits_of(model, data)
    np.testing.assert_allclose(logits, data["logits"], 2e-5, 2e-5)


def logits_of(model, data):
    backbone = model.backbone
    if "basis_U" not in data:
        return keras.ops.convert_to_numpy(model(data["points"]))
    # Signs of eigenvectors are arbitrary, and the results depend on them.
    layer = backbone.get_layer("tuner_geometry")
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    names = sorted(layer.compute_output_spec(*inputs))
    spectral = dict(zip(names, layer.output))
    values = keras.Model(backbone.input, spectral)(data["points"])
    values |= {"basis": data["basis_U"], "local_basis": data["basis_subU"]}
    inputs = [backbone.input, *spectral.values()]
    values = [
        np.reshape(keras.ops.convert_to_numpy(values[k]), (-1, *x.shape[1:]))
        for k, x in spectral.items()
    ]
    run = keras.Model(inputs, model.head(model.token_pooling(backbone.output)))
    return keras.ops.convert_to_numpy(run([data["points"], *values]))


POINT_PEFT = {
    # A recording, the preset that it is of, and what its code computes.
    "pointpeft_pointmae_fps_quirk": (
        "pointpeft_pointmae_scanobjectnn",
        {"reference": True},
    ),
    "pointpeft_pointmae_modelnet_legacy_tiny": (
        "pointpeft_pointmae_modelnet40",
        {"gated": True, "prompt_place": "attention", "prompt_blocks": 3},
    ),
}


@pytest.mark.parametrize("case", POINT_PEFT)
def test_point_peft_loads_into_what_its_code_computes(case, tmp_path):
    """Through the front door; with its bank, see the recorded cases."""
    name, mode = POINT_PEFT[case]
    state = releases.state_of(case)
    config = releases.config_of(case)
    path = save(state, tmp_path / "file.pth")
    model = keras_pointpeft.from_preset(
        name,
        load_weights=path,
        dim=config["trans_dim"],
        depth=config["depth"],
        num_heads=config["num_heads"],
        num_groups=config["num_group"],
        group_size=config["group_size"],
    )
    method = model.backbone.peft
    assert {k: getattr(method, k) for k in mode} == mode
    report = checkpoints.load_into(model, state)
    assert set(report.used) | set(report.unused) == set(state)
    # And with the pre-trained file, the frozen biases are told apart.
    bias = "blocks.blocks.0.mlp.fc1.bias"
    before = {k: v for k, v in state.items() if "adapter" not in k}
    before = {f"MAE_encoder.{k}": v + 1 for k, v in before.items()}
    checkpoints.load_into(model, state, pretrained=before)
    found = weights_of(model)
    frozen = keras.ops.convert_to_numpy(found["block_0/fc1/bias"])
    tuned = keras.ops.convert_to_numpy(found["block_0/tuner/fc1_bias"])
    np.testing.assert_allclose(frozen, state[bias] + 1, rtol=1e-6)
    np.testing.assert_allclose(tuned, -1.0, rtol=1e-5)
    written = checkpoints.published_state(model)
    np.testing.assert_allclose(written[bias], state[bias], atol=1e-6)


def test_which_file_is_it(mirror, tmp_path, caplog):
    """A card's file must be what the card says; a given one is told."""
    name = "full_pointmae_scanobjectnn"
    other = releases.file_of("pointmae_shapenet")[1]
    path = save(other, tmp_path / "file.pth")
    mirror.files[address(name)] = path.read_bytes()
    with pytest.raises(checkpoints.CheckpointMismatch, match="fine-tuned.*pre"):
        keras_pointpeft.from_preset(name)
    sizes, state = releases.file_of("full_pointgpts_scanobjectnn")
    path = save(state, tmp_path / "tuned.pth")
    keras_pointpeft.from_preset(
        "pointgpts_shapenet", load_weights=path, **sizes.arguments
    )
    assert "published results start from a file" in caplog.text


def test_by_hand_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv(downloads.MIRROR_VARIABLE, raising=False)
    with pytest.raises(presets.WeightsNotFound, match="load_weights=FILE") as e:
        keras_pointpeft.from_preset("full_pcpmae_scanobjectnn")
    assert "by_hand/full_pcpmae_scanobjectnn.pth" in str(e.value)
    with pytest.raises(presets.WeightsNotFound, match="no licence"):
        keras_pointpeft.from_preset("pointpqae_shapenet")


def test_parts_are_the_recorded_ones(tmp_path):
    case = "pointmae_partseg_small"
    path = save(releases.state_of(case), tmp_path / "file.pth")
    model = keras_pointpeft.from_preset(
        "full_pointmae_shapenetpart",
        load_weights=path,
        num_groups=32,
        group_size=16,
    )
    data = releases.clouds_of(case)
    inputs = {"points": data["points"], "category": data["category"]}
    scores = keras.ops.convert_to_numpy(model(inputs))
    np.testing.assert_allclose(scores, data["log_probs"], 2e-5, 2e-5)
