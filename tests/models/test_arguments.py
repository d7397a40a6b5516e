"""What no backbone or task can be built with is refused, by name."""

import pytest

from keras_pointpeft import models
from tests.small import SIZES as PLAIN
from tests.small import small_backbone

pytestmark = pytest.mark.once

STAGES = {
    "num_groups": (16, 8, 4),
    "group_sizes": (8, 4, 4),
    "dims": (12, 18, 24),
    "depths": (1, 1, 1),
    "num_heads": 3,
    "encoder_dims": (8, 12, 16),
}
BACKBONES = (
    (models.PointMAEBackbone, PLAIN, ("token_dim",)),
    (models.ReConBackbone, PLAIN, ()),
    (models.PointGPTBackbone, PLAIN, ()),
    (models.PointM2AEBackbone, STAGES, ()),
)


@pytest.mark.parametrize("kind, sizes, more", BACKBONES)
@pytest.mark.parametrize("wrong", (0, -1, 2.5))
def test_sizes_of_backbones(kind, sizes, more, wrong):
    for name in (*sizes, *more):
        value = sizes.get(name, 1)
        bad = wrong if not isinstance(value, tuple) else (wrong, *value[1:])
        with pytest.raises(ValueError, match=rf"`{name}` .*Received: {name}="):
            kind(**{**sizes, name: bad})


@pytest.mark.parametrize("wrong", (-1, 2.5))
def test_what_may_be_0(wrong):
    for kind, sizes, _ in BACKBONES:
        with pytest.raises(ValueError, match="`extra_channels` .*Received"):
            kind(**sizes, extra_channels=wrong)
    with pytest.raises(ValueError, match="`generator_depth` .*Received"):
        models.PointGPTBackbone(**PLAIN, generator_depth=wrong)


TASKS = (
    (models.PointCloudClassifier, {"num_classes": 3}),
    (models.SemanticSegmenter, {"num_classes": 3, "blocks": (0, 1, 1)}),
    (
        models.PartSegmenter,
        {"num_classes": 3, "num_categories": 2, "blocks": (0, 1, 1)},
    ),
)


@pytest.mark.parametrize("kind, arguments", TASKS)
def test_arguments_of_tasks(kind, arguments):
    backbone = small_backbone()
    wrong = {
        "num_classes": (0, -1, 2.5),
        "head_dims": ((0,), (8, -1), (2.5,)),
    }
    if kind is not models.PointCloudClassifier:
        # Their heads have a hidden layer.
        wrong["head_dims"] = (*wrong["head_dims"], ())
        wrong["propagation_dims"] = ((), (0, 8), (8, -4))
        wrong["blocks"] = ((), (0, 2), (-1,))
    if kind is models.PartSegmenter:
        wrong["num_categories"] = (0, -1, 2.5)
    for name, values in wrong.items():
        for value in values:
            words = f"`{name}` must .*Received: {name}="
            with pytest.raises(ValueError, match=words):
                kind(backbone, **{**arguments, name: value})
