"""Which tokens of a hierarchy are visible, and how they stand together."""

from keras import ops

from keras_pointpeft.ops import gather
from keras_pointpeft.ops import squared_distances


def visible_below(visible, neighbors, count):
    """Tokens of the stage below that some visible patch is made of.

    Args:
        visible: boolean `(batch, groups)`.
        neighbors: int `(batch, groups, neighbors)`, indices into the tokens
            of the stage below.
        count: int. How many these are.

    Returns:
        boolean `(batch, count)`.
    """
    columns = ops.arange(count, dtype="int32")
    found = False
    for j in range(neighbors.shape[-1]):
        hit = neighbors[..., j : j + 1] == columns
        hit = ops.logical_and(hit, visible[..., None])
        found = ops.logical_or(ops.any(hit, axis=1), found)
    return found


class Packing:
    """The visible tokens of each sample, side by side at the front.

    Args:
        visible: boolean `(batch, tokens)`.
        limit: int. At least the number of visible tokens of every sample.

    Attributes:
        real: boolean `(batch, limit)`, true where a visible token stands;
            the rest is padding.
        padding: boolean `(batch, limit)`, true where a sample has a blank
            because another one of the batch has more visible tokens.
    """

    def __init__(self, visible, limit):
        count = visible.shape[1]
        place = ops.arange(count, dtype="int32")
        # With distinct keys every sorting algorithm gives the same.
        keys = ops.where(visible, place, place + count)
        order = ops.cast(ops.argsort(keys, axis=1), "int32")
        self.inverse = ops.cast(ops.argsort(order, axis=1), "int32")
        self.first, self.last = order[:, :limit], order[:, limit:]
        counts = ops.sum(ops.cast(visible, "int32"), axis=1, keepdims=True)
        place = place[None, :limit]
        self.real = place < counts
        self.padding = ops.logical_and(
            place >= counts, place < ops.max(counts)
        )

    def pack(self, values):
        """Of `(batch, tokens, dim)` the visible; zeros for padding."""
        packed = gather(values, self.first)
        return packed * ops.cast(self.real, packed.dtype)[..., None]

    def unpack(self, packed, hidden):
        """Back in the old order, with the rows of `hidden` for the others.

        Args:
            packed: `(batch, limit, dim)`.
            hidden: `(batch, tokens, dim)`.
        """
        front = ops.where(
            self.real[..., None],
            packed,
            ops.cast(gather(hidden, self.first), packed.dtype),
        )
        if self.last.shape[1]:
            back = ops.cast(gather(hidden, self.last), packed.dtype)
            front = ops.concatenate((front, back), axis=1)
        return gather(front, self.inverse)

    def near(self, centers, radius):
        """Real tokens attend to real ones within the radius.

        Args:
            centers: `(batch, limit, 3)`, packed.
            radius: float.

        Returns:
            boolean `(batch, limit, limit)`; every row allows at least the
            token itself.
        """
        near = _within(centers, radius)
        return self._with_self(ops.logical_and(near, self.real[:, None]))

    def published(self, centers, radius):
        """What the published code allows instead.

        All real tokens attend to each other. Blanks are tokens at the origin
        whom those near it see too.
        """
        both = ops.logical_and(self.real[:, None], self.real[:, :, None])
        seen = ops.logical_or(self.real, self.padding)
        near = ops.logical_and(_within(centers, radius), seen[:, None])
        return self._with_self(ops.logical_or(both, near))

    def _with_self(self, allowed):
        place = ops.arange(self.real.shape[1])
        return ops.logical_or(allowed, place == place[:, None])


def _within(centers, radius):
    return ops.sqrt(squared_distances(centers, centers)) < radius
