"""What STAG does before, beside and behind one transformer block."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import part_call
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.ops.arithmetic import recomputed
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


def sum_name(reader):
    """Under which name it is known what a reader will read."""
    return f"side_sum_{reader}"


@serializable
class TokenSum(Configurable, keras.layers.Layer):
    """Adds up the patch tokens before the first blocks.

    What reads them is linear: of the tokens before several blocks it makes
    what it makes of their sum. So nothing that trains is needed before the
    block where the side network starts.

    Args:
        reader: int. The number of the layer that will read the sum.
        num_class_tokens: int.
        first: bool. Whether the sum begins here.

    Input shape:
        tokens `(batch, tokens, dim)`, as they come to the block; a dict of
        what it `needs`, the sum so far, `(batch, groups, dim)`.

    Output shape:
        dict of the new sum.
    """

    def __init__(self, reader, num_class_tokens, first, **kwargs):
        super().__init__(**kwargs)
        self.reader = reader
        self.num_class_tokens = num_class_tokens
        self.first = first

    @property
    def needs(self):
        return () if self.first else (sum_name(self.reader),)

    def build(self, tokens_shape, known_shape=None):
        self.built = True

    def call(self, tokens, known):
        name = sum_name(self.reader)
        patches = tokens[:, self.num_class_tokens :]
        return {name: patches if self.first else known[name] + patches}


@serializable
class SideStep(Configurable, keras.layers.Layer):
    """The side network's step beside one block.

    Args:
        block: int. The number of the block within its stage.
        num_class_tokens: int.
        shared: the `SideGraph`.

    Input shape:
        tokens `(batch, tokens, dim)`, as they come to the block; a dict of
        what it `needs`.

    Output shape:
        dict of `"side_state"` `(batch, groups, rank)` and `"displacement"`
        `(batch, groups, dim)`, which joins the patch tokens behind the block.
    """

    # What the backward pass computes again; see `PointBackbone.remat`.
    remat = "elementwise"

    def __init__(self, block, num_class_tokens, shared=None, **kwargs):
        super().__init__(**kwargs)
        self.block = block
        self.num_class_tokens = num_class_tokens
        # In a function, so that Keras does not save it with every block.
        self._shared = lambda: shared

    @property
    def shared(self):
        return self._shared()

    @property
    def reads(self):
        """The variables that what it returns depends on."""
        return self.shared.variables

    @property
    def read_before(self):
        """How many blocks' tokens each reader finds added up."""
        if self.block > self.shared.start:
            return {}
        readers = [self.shared.reader_of(i) for i in range(self.block)]
        return {reader: readers.count(reader) for reader in set(readers)}

    @property
    def needs(self):
        before = [sum_name(reader) for reader in self.read_before]
        if self.block > self.shared.start:
            before = ["side_state", "positioned", "positions"]
        return (*self.shared.gives, *before)

    def build(self, tokens_shape, known_shape=None):
        self.built = True

    def call(self, tokens, known, training=False):
        counts, own = self.read_before, self.shared.reader_of(self.block)
        read = {i: known[sum_name(i)] for i in counts}
        patches = self._patches(tokens)
        read[own] = read[own] + patches if own in read else patches
        counts[own] = counts.get(own, 0) + 1
        given = {"neighbors": known["side_neighbors"]}
        if "side_state" in known:
            given["state"] = known["side_state"]
        again = training and self.remat != "none"
        if again and "positioned" in known:
            # The block keeps these for its own backward pass, and positions
            # are the same for all blocks.
            read[own] = known["positioned"]
            given["positions"] = known["positions"]
        given |= read

        def step(*values):
            known = dict(zip(given, values))
            if "positions" in known:
                known[own] = self._patches(known[own] - known["positions"])
            state = known.get("state")
            for i, count in counts.items():
                x = self._read(i, known[i], count)
                state = x if state is None else state + x
            number = self.shared.step_of(self.block)
            return self.shared.steps[number](state, known["neighbors"])

        step = recomputed(step) if again else step
        state, displacement = step(*given.values())
        return {"side_state": state, "displacement": displacement}

    def _patches(self, tokens):
        return tokens[:, self.num_class_tokens :]

    def _read(self, reader, x, count):
        """What a reader makes of the sum of so many blocks' tokens."""
        down = self.shared.downs[reader]
        x = part_call(down, x)
        if count == 1:
            return x
        bias = ops.cast(ops.convert_to_tensor(down.bias), x.dtype)
        return x + (count - 1) * bias


@serializable
class Displacement(Configurable, BlockTuner):
    """Moves the tokens behind a block as the side network says.

    Class tokens move by the mean of what the patches do.
    """

    needs = ("displacement",)

    def __init__(self, num_class_tokens, **kwargs):
        super().__init__(**kwargs)
        self.num_class_tokens = num_class_tokens

    def build(self, tokens_shape):
        self.built = True

    def leave(self, tokens, side, geometry, training):
        moves, first = geometry["displacement"], self.num_class_tokens
        if not first:
            return tokens + moves
        mean = ops.mean(moves, axis=1, keepdims=True)
        parts = (tokens[:, :first] + mean, tokens[:, first:] + moves)
        return ops.concatenate(parts, axis=1)


@serializable
class AsBeforeNorm(Configurable, keras.layers.Layer):
    """The tokens without the final norm, which the side network does not fit.

    Input shape:
        tokens behind the norm and before it, `(batch, tokens, dim)` each.

    Output shape:
        `(batch, tokens, dim)`.
    """

    reads_tokens = True

    def build(self, normed_shape, tokens_shape=None):
        self.built = True

    def call(self, normed, tokens):
        return tokens

    def compute_output_shape(self, normed_shape, tokens_shape=None):
        return tokens_shape
