"""What no method can be built with is refused, by name."""

import inspect
import re

import numpy as np
import pytest

from keras_pointpeft import peft
from tests.small import small_backbone

pytestmark = pytest.mark.once

METHODS = [
    found
    for name in dir(peft)
    if inspect.isclass(found := getattr(peft, name))
    and issubclass(found, peft.PeftMethod)
]
# Numbers whose default is None.
OPTIONAL = ("num_prompts", "prompt_group_size", "share")
# With 0 the method goes without.
MAY_BE_0 = ("prompt_blocks", "fusions")


def numbers():
    for method in METHODS:
        for name, x in inspect.signature(method).parameters.items():
            whole = isinstance(x.default, int) and x.default is not True
            whole = whole and x.default is not False
            if (whole or name in OPTIONAL) and name != "prompt_block":
                yield method, name


@pytest.mark.parametrize("method, name", numbers())
def test_a_number_of_things_is_a_positive_integer(method, name):
    for value in (0, -1, 2.5, True):
        if value is not True and value == 0 and name in MAY_BE_0:
            method(**{name: value})
            continue
        words = rf"`{name}` must be .*Received: .*{name}={value!r}"
        with pytest.raises(ValueError, match=words):
            method(**{name: value})


def test_there_are_such_numbers():
    assert len(list(numbers())) > 30


@pytest.mark.parametrize(
    "method, name",
    ((peft.Adapter, "sites"), (peft.LoRA, "targets"), (peft.LoTT, "targets")),
)
def test_nowhere_is_no_place(method, name):
    words = f"`{name}` must name.*Received: {name}="
    with pytest.raises(ValueError, match=words):
        method(**{name: ()})


@pytest.mark.parametrize("block", (2.5, (), (1.5,), None, "last"))
def test_what_is_no_block(block):
    words = "`prompt_block` must be the number.*Received: prompt_block="
    with pytest.raises(ValueError, match=words + re.escape(repr(block))):
        peft.IDPT(prompt_block=block)


@pytest.mark.parametrize("block", ((0, 2), (-1,)))
def test_blocks_that_a_backbone_does_not_have(block):
    """They would have had no prompts, and nobody would have been told."""
    with pytest.raises(ValueError, match="one of the blocks 0 to 1. Received"):
        small_backbone(peft.IDPT(prompt_block=block))
    small_backbone(peft.IDPT(prompt_block=[np.int64(1)]))


@pytest.mark.parametrize("dims", ((), (8, 12), (2, 4, 6, 8, 10), (8, 0, 16)))
def test_widths_of_a_patch_encoder(dims):
    with pytest.raises(ValueError, match="`encoder_dims` must .*Received"):
        peft.SideTuning(encoder_dims=dims)
    with pytest.raises(ValueError, match="`encoder_dims` must .*Received"):
        small_backbone(encoder_dims=dims)


def test_neighbourhoods_of_no_patches():
    """A ratio that is larger than a patch leaves nobody to look at."""
    method = peft.PointPEFT(prior=False, num_prompts=2, neighborhood_ratio=4)
    with pytest.raises(ValueError, match="num_groups=2, group_size=0"):
        small_backbone(method, group_size=3)
