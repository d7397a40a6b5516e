import re

import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft import reports
from keras_pointpeft.models import PartSegmenter
from keras_pointpeft.models import PointM2AEBackbone
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.peft import PriorBank
from keras_pointpeft.reports import embedding
from keras_pointpeft.reports import findings
from keras_pointpeft.reports import inspection
from keras_pointpeft.training import Recipe
from tests.conftest import small_backbone
from tests.conftest import small_classifier

pytestmark = pytest.mark.once

RECIPE = Recipe(batch_size=4, num_points=64, seed=0)


def split(count=12, parts=False):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, 64, 3)).astype("float32")
    labels = np.arange(count, dtype="int32") % 3
    names = ("chair", "table", "lamp")
    if not parts:
        return data.Split(points, labels, names)
    return data.Split(
        points,
        labels,
        names,
        part_labels=rng.integers(0, 4, (count, 64)),
        part_names=("seat", "leg", "top", "shade"),
    )


def look(model, clouds):
    given = findings.samples(model, clouds, RECIPE)
    before = model.backbone.frozen_pass().predict(given.points, verbose=0)
    return findings.collect(
        model, given, before, clouds, RECIPE, "a run", facts=[], history=[]
    )


def test_a_classifier():
    found = look(small_classifier(DAPT(rank=4)), split())
    assert found.confusion.sum() == 12 and found.counted == "clouds"
    assert found.features.before.shape == (12, 2)
    assert len(found.clouds) == 6 and found.looks == "the class token"
    view = found.clouds[0]
    assert len(view.scales) == len(view.attention) == 2
    assert view.scales[0].shape == (64,) and view.scales[0].min() >= 0
    assert view.title.endswith(("(right)", "(wrong)"))
    assert found.scale_range.shape == (2, 2)
    assert list(found.live) == ["now"]
    assert set(found.live["now"]) == {"block_0", "block_1"}


@pytest.mark.slow
def test_a_bank_s_nearest_samples_are_those_of_its_query():
    pytest.importorskip("sklearn")
    method = PointPEFT(
        prompt_blocks=1,
        num_prompts=6,
        adapter_rank=4,
        bank_size=12,
        prior_num_groups=8,
        prior_group_size=8,
    )
    model, clouds = small_classifier(method), split()
    bank = PriorBank.build(model, clouds.points, clouds.labels, verbose=0)
    bank.attach(model)
    found = look(model, clouds)
    # A cloud of the training split is the nearest to itself.
    for view in found.clouds:
        assert len(view.nearest) == findings.NEAREST
        np.testing.assert_array_equal(view.nearest[0][0], view.points)
        assert view.nearest[0][1].endswith("(1.000)")
    with pytest.raises(ValueError, match="other clouds"):
        rng = np.random.default_rng(5)
        other = rng.normal(size=(12, 64, 3)).astype("float32")
        other = data.Split(other, clouds.labels, clouds.class_names)
        findings.add_nearest(found, model, clouds.points[:2], other, RECIPE)


def test_parts():
    model = PartSegmenter(
        small_backbone(DAPT(rank=4), use_class_token=False),
        num_classes=4,
        num_categories=3,
        blocks=(0, 1),
        propagation_dims=(16, 16),
        head_dims=(16, 16),
    )
    found = look(model, split(parts=True))
    assert found.measure == "IoU" and found.counted == "points"
    assert found.confusion.sum() == 12 * 64
    true, predicted = found.clouds[0].parts
    assert true.shape == predicted.shape == (64,)
    assert found.class_names == ("seat", "leg", "top", "shade")
    assert found.looks == "all patches"


@pytest.mark.slow
def test_a_hierarchy_is_seen_in_its_last_stage():
    backbone = PointM2AEBackbone(
        num_groups=(16, 8, 4),
        group_sizes=(8, 4, 4),
        dims=(12, 12, 24),
        depths=(1, 1, 2),
        num_heads=3,
        encoder_dims=(8, 12, 16),
        peft=DAPT(rank=4),
    )
    seen = inspection.inspect(backbone, split().points[:2])
    assert [block.name for block in seen.blocks] == ["block_2", "block_3"]
    assert seen.centers.shape == (2, 4, 3)
    assert seen.blocks[0].attention.shape == (2, 4)
    assert seen.blocks[0].scale.shape == (2, 4)


def test_onto_points():
    # Two patches of three points; the one in both has the mean, the one in
    # none the nearest patch's value.
    x = np.array([0.0, 0.1, 0.5, 0.9, 1.0, 5.0])
    points = np.stack((x, 0 * x, 0 * x), axis=1)[None]
    centers = np.array([[[0.0, 0, 0], [1.0, 0, 0]]])
    found = inspection.onto_points(points, centers, [[1.0, 3.0]], 3)
    np.testing.assert_allclose(found, [[1, 1, 2, 3, 3, 3]])


def test_neighbors_vote():
    features = np.concatenate((np.eye(2)[[0] * 6], np.eye(2)[[1] * 6]))
    labels = np.repeat([0, 1], 6)
    assert embedding.neighbor_accuracy(features, labels) == 1
    assert embedding.neighbor_accuracy(features, labels[::-1]) == 1
    assert embedding.neighbor_accuracy(features, np.tile([0, 1], 6)) < 0.6


def test_a_page_asks_for_nothing_from_outside(found, tmp_path):
    pytest.importorskip("plotly")
    from keras_pointpeft.reports import html

    html.write(found, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    for title in (
        "Learning curves",
        "Right and wrong",
        "What trains",
        "Features before and after",
        "What each block does",
        "Nearest samples of the bank",
        "Labels of points",
    ):
        assert f"<h2>{title}</h2>" in text
    row = "<td>block 0</td><td>scale</td><td>25</td><td>0</td>"
    assert row in text and "<td>before</td><td>now</td>" in text
    # Colours of the classes that a cloud has, or was taken to have.
    legends = re.findall(r'"legend": (\[\[.*?\]\])', text)
    assert len(legends) == sum(view.parts is not None for view in found.clouds)
    assert "A &lt;run&gt;" in text and "<h1>A <run>" not in text
    # plotly's own script, once, and no script from anywhere else.
    assert text.count("* plotly.js v") == 1
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.https?:", text)


def test_what_there_is_not_is_left_out(found, tmp_path):
    pytest.importorskip("plotly")
    pytest.importorskip("matplotlib")
    from keras_pointpeft.reports import html
    from keras_pointpeft.reports import png

    found.features = found.scale_range = None
    found.live = {"now": {}}
    found.history = []
    for view in found.clouds:
        view.nearest, view.parts, view.scales = [], None, []
    html.write(found, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "<h2>Labels of points</h2>" not in text
    assert "<h2>Features before and after</h2>" not in text
    assert sorted(png.write(found, tmp_path)) == [
        "blocks.png",
        "classes.png",
        "confusion.png",
        "parameters.png",
    ]


def test_figures(found, tmp_path):
    pytest.importorskip("matplotlib")
    from keras_pointpeft.reports import png

    written = png.write(found, tmp_path / "figures")
    assert len(written) == 9
    for name in written:
        content = (tmp_path / "figures" / name).read_bytes()
        assert content.startswith(b"\x89PNG")


def test_what_is_no_finished_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="has a result.json"):
        reports.read_run(tmp_path)
    (tmp_path / "adapter").mkdir()
    for text, message in (
        ("{", "result.json is not JSON"),
        ("[]", "result.json must hold an object"),
        ("{}", "written before there were reports"),
    ):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            reports.read_run(tmp_path)
