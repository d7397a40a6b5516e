"""What all blocks share under STAG: the graph, and the side network on it."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import knn
from keras_pointpeft.ops.arithmetic import largest
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class GraphStep(Configurable, keras.layers.Layer):
    """One step of the side network: the state along edges, and its way out.

    The new state is a linear layer of what a patch has and of the largest of
    what its neighbours have, a linear layer of the state each. There is no
    activation, no norm and no residual. What is added to the tokens is the
    ReLU of a last linear layer.

    Args:
        rank: int. Width of the state.
        dim: int. Width of the tokens.

    Input shape:
        state `(batch, groups, rank)`; neighbours `(batch, groups, near)`,
        int32.

    Output shape:
        the new state `(batch, groups, rank)`, and `(batch, groups, dim)`.
    """

    def __init__(self, rank, dim, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.dim = dim
        policy = self.dtype_policy
        self.own = Linear(rank, dtype=policy, name="own")
        self.neighbors = Linear(rank, dtype=policy, name="neighbors")
        self.fuse = Linear(rank, dtype=policy, name="fuse")
        self.up = Linear(dim, dtype=policy, name="up")

    def build(self, state_shape, neighbors_shape=None):
        for layer in (self.own, self.neighbors, self.fuse, self.up):
            layer.build((None, None, self.rank))

    def call(self, state, neighbors):
        theirs = gather(self.neighbors(state), neighbors)
        state = self.fuse(self.own(state) + largest(theirs, axis=2))
        return state, ops.relu(self.up(state))

    def compute_output_shape(self, state_shape, neighbors_shape=None):
        return state_shape, (*state_shape[:-1], self.dim)


@serializable
class SideGraph(Configurable, keras.layers.Layer):
    """The graph of a cloud's patches, and the side network's layers.

    Args:
        dim: int. Width of the tokens.
        rank: int. Width of the state.
        num_neighbors: int. How many patches are joined with one, itself
            included; all, if there are fewer.
        start: int. The first block whose output the side network changes,
            counted within the stage.
        depth: int. Number of blocks of the stage.
        share: optional int. So many neighbouring blocks have layers in
            common; None for all.

    Input shape:
        points `(batch, points, 3)` and centres `(batch, groups, 3)`.

    Output shape:
        dict of `"side_neighbors"` `(batch, groups, num_neighbors)`, int32.
    """

    gives = ("side_neighbors",)

    def __init__(
        self, dim, rank, num_neighbors, start, depth, share=None, **kwargs
    ):
        # Coordinates stay float32 under every dtype policy.
        super().__init__(autocast=False, **kwargs)
        self.dim = dim
        self.rank = rank
        self.num_neighbors = num_neighbors
        self.start = start
        self.depth = depth
        self.share = share
        policy = self.dtype_policy
        self.downs = [
            Linear(rank, dtype=policy, name=f"down_{i}")
            for i in range(self.reader_of(depth - 1) + 1)
        ]
        self.steps = [
            GraphStep(rank, dim, dtype=policy, name=f"step_{i}")
            for i in range(self.step_of(depth - 1) + 1)
        ]

    @property
    def reads(self):
        """What it returns depends on no variable, see `FrozenPass`."""
        return []

    def reader_of(self, block):
        """The number of the layer that reads the tokens before a block."""
        return 0 if self.share is None else block // self.share

    def step_of(self, block):
        """The number of the step beside a block, `start` at least."""
        return 0 if self.share is None else (block - self.start) // self.share

    def build(self, points_shape, centers_shape=None):
        for layer in self.downs:
            layer.build((None, None, self.dim))
        for layer in self.steps:
            layer.build((None, None, self.rank))

    def call(self, points, centers):
        count = min(self.num_neighbors, centers.shape[1])
        return {"side_neighbors": knn(centers, centers, count)}

    def compute_output_spec(self, points, centers):
        batch, groups, _ = centers.shape
        shape = (batch, groups, min(self.num_neighbors, groups))
        return {"side_neighbors": keras.KerasTensor(shape, "int32")}
