"""Recorded cases of STAG, on Point-MAE."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.peft import STAG
from keras_pointpeft.verification.case import GRADIENT
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.cases_methods import point_mae_classifier
from keras_pointpeft.verification.family import check_classifier

# Below this, the sign of what a ReLU reads is a matter of rounding. One such
# value makes up some thousandths of the largest gradient.
TIE, TIED_GRADIENT = 5e-6, 5e-3
# Published sizes, by number.
SIZES = ({}, {"start": 0.25, "share": 3})


def before(block, moves):
    """The tokens of a block before the side network displaced them."""
    mean = ops.mean(moves, axis=1, keepdims=True)
    return block - ops.concatenate((mean, moves), axis=1)


@case("stag_*")
def side_token_adaptation(recorded):
    size = SIZES[recorded.config["stag_size"]]
    peft = STAG(**size, frozen_bn="track")
    model = point_mae_classifier(recorded.config, peft)
    backbone, parts, states = model.backbone, {}, []
    side = backbone.get_layer("tuner_geometry")
    for i in range(side.start, side.depth):
        # A dict of both, in the order of their names.
        moves, state = backbone.get_layer(f"tuner_tokens_{i}").output
        number = i - side.start
        states.append(state)
        block = backbone.get_layer(f"block_{i}").output
        parts |= {
            f"block{i}": before(block, moves),
            f"displacement{number}": moves,
            f"side_state{number}": state,
        }
    parts["encoder_out"] = block
    parts["pos_embed"] = backbone.get_layer("position").output
    tie = tied(recorded, model, states)
    gradient = TIED_GRADIENT if tie else GRADIENT
    check_classifier(recorded, model, gradient=gradient, **parts)
    graph = side(recorded.data["points"], centers(recorded))
    recorded.same_sets("graph0", graph["side_neighbors"])


def tied(recorded, model, states):
    """Whether a displacement is as good as at the edge of its ReLU."""
    fill_layout(model, recorded.weights(), layout_of(model))
    found = keras.Model(model.backbone.input, states)(recorded.data["points"])
    side = model.backbone.get_layer("tuner_geometry")
    edge = np.inf
    for i, state in enumerate(found, start=side.start):
        up = side.steps[side.step_of(i)].up
        edge = min(edge, np.abs(ops.convert_to_numpy(up(state))).min())
    return edge < TIE


def centers(recorded):
    index = recorded.data["fps0"][..., None].astype(int)
    return ops.take_along_axis(recorded.data["points"], index, axis=1)
