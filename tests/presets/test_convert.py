import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import checkpoints
from keras_pointpeft import presets
from keras_pointpeft.checkpoints import loading
from tests.checkpoints import published

pytestmark = pytest.mark.once

torch = pytest.importorskip("torch")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setitem(loading.NUM_HEADS, 24, 3)

    def write(kind, pretrained=False):
        model = published.shuffled(published.KINDS[kind]())
        path = tmp_path / "file.pth"
        target = model.backbone if pretrained else model
        checkpoints.write_checkpoint(target, path, pretrained)
        return path

    return write


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("kind", ["pointbert", "pointgpt", "recon"])
def test_converts_to_a_preset(file, tmp_path, kind, pretrained):
    path, output = file(kind, pretrained), tmp_path / "preset"
    model, report = presets.convert(path, output)
    assert report.used and not list(tmp_path.glob(".preset.*"))
    again = keras_pointpeft.from_preset(str(output))
    assert type(again) is type(model)
    theirs = checkpoints.read_checkpoint(path)
    ours = checkpoints.published_state(again, pretrained)
    for name in report.used:
        assert np.array_equal(ours[name], theirs[name]), name


def test_converts_a_backbone_of_several_stages(tmp_path):
    name, path = "pointm2aetiny_shapes", tmp_path / "file.pth"
    model = keras_pointpeft.from_preset(name, load_weights=False)
    checkpoints.write_checkpoint(published.shuffled(model), path, True)
    found, report = presets.convert(path, tmp_path / "preset", name)
    assert report.used and type(found) is type(model)


def test_nothing_is_written_when_it_does_not_fit(file, tmp_path):
    path, output = file("dapt_pointmae"), tmp_path / "preset"
    with pytest.raises(checkpoints.CheckpointMismatch, match="DAPT"):
        presets.convert(path, output)
    assert not output.exists()


def test_does_not_overwrite(file, tmp_path):
    output = tmp_path / "preset"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        presets.convert(file("pointbert"), output)


def test_a_tuned_preset_is_not_made_of_a_backbone(file, tmp_path):
    with pytest.raises(checkpoints.CheckpointMismatch, match="act_shapenet"):
        presets.convert(
            file("act", True), tmp_path / "preset", "dapt_act_scanobjectnn"
        )
