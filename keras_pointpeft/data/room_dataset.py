"""Batches from rooms, and the evaluation of whole rooms."""

import keras
import numpy as np

from keras_pointpeft.data import augmentation as augmentations
from keras_pointpeft.data.clouds import as_floats
from keras_pointpeft.data.columns import columns
from keras_pointpeft.data.columns import draw_column
from keras_pointpeft.data.columns import most_columns
from keras_pointpeft.data.dataset import EpochDataset
from keras_pointpeft.data.rooms import AT_ONCE
from keras_pointpeft.data.rooms import Room
from keras_pointpeft.files.progress import telling


class RoomDataset(EpochDataset):
    """Random columns of rooms with a label for each point.

    Rooms are drawn in proportion to their points. Batch `b` of epoch `e`
    depends on `(seed, e, b)` alone. Where rooms have `channels`, these stand
    behind x, y, z; augmentation leaves them as they are.

    Args:
        rooms: list of `Room`.
        batch_size: int. Defaults to 32.
        num_points: int. Defaults to 2048.
        steps: int, batches of an epoch. Defaults to None: so many that an
            epoch draws as many points as the rooms have.
        augmentation: what `augmentation.get` takes. Defaults to "none";
            published: scale 0.8 to 1.25, shift 0.1.
        column_size: float, width of a column in metres. Defaults to 1.
        column_min_points: int, a column has more. Defaults to 1024.
        seed: int.
        **kwargs: `workers`, `max_queue_size` of
            `keras_pointpeft.data.EpochDataset`.

    Raises:
        ValueError: if there is no room, none has a column of so many points,
            or rooms have unequally many channels.

    Example:
    ```python
    from keras_pointpeft.data import RoomDataset
    from keras_pointpeft.data import load_rooms

    train = RoomDataset(
        load_rooms(num_rooms=2),
        batch_size=4,
        num_points=1024,
        augmentation={
            "name": "scale_translate", "low": 0.8, "high": 1.25, "shift": 0.1
        },
    )
    points, labels = train[0]  # (4, 1024, 3), (4, 1024)
    ```
    """

    def __init__(
        self,
        rooms,
        batch_size=32,
        num_points=2048,
        steps=None,
        augmentation="none",
        column_size=1.0,
        column_min_points=1024,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not rooms:
            raise ValueError(f"`rooms` must not be empty. Received: {rooms}")
        self.rooms = list(rooms)
        widths = [width(room) for room in self.rooms]
        if len(set(widths)) > 1:
            other = next(i for i, w in enumerate(widths) if w != widths[0])
            raise ValueError(
                "Rooms must have equally many channels. Received: "
                f"{self.rooms[0].name} with {widths[0]}, "
                f"{self.rooms[other].name} with {widths[other]}"
            )
        self.batch_size = batch_size
        self.num_points = num_points
        counts = np.array([len(room.points) for room in self.rooms])
        self.steps = steps
        if steps is None:
            self.steps = -(-int(counts.sum()) // (batch_size * num_points))
        self.augmentation = augmentations.get(augmentation)
        self.column_size = column_size
        self.column_min_points = column_min_points
        self.seed = seed
        self._shares = counts / counts.sum()

    @property
    def num_batches(self):
        return self.steps

    def make_batch(self, index):
        rng = np.random.default_rng((self.seed, self.epoch, index, 1))
        chosen = rng.choice(len(self.rooms), self.batch_size, p=self._shares)
        columns = [
            draw_column(
                self.rooms[room],
                self.num_points,
                rng,
                self.column_size,
                self.column_min_points,
            )
            for room in chosen
        ]
        points, labels = (np.stack(part) for part in zip(*columns))
        return augmentations.moved(self.augmentation, points, rng), labels


def width(room):
    """How many channels the points of a room have."""
    return 0 if room.channels is None else room.channels.shape[1]


@telling("predicting a scene")
def predict_room(
    predict,
    room,
    num_classes,
    num_points=2048,
    votes=1,
    column_size=1.0,
    stride=0.5,
    batch_size=4,
    seed=0,
):
    """Predicts a label for every point of a room.

    The room is covered by overlapping columns, `votes` times with other
    divisions; each block that holds a point votes for its class (published:
    stride 0.5 and 3 votes).

    Args:
        predict: function from points `(batch, num_points, 3)` to scores
            `(batch, num_points, num_classes)`, such as
            `model.predict_on_batch`.
        room: `Room`, or an array `(points, 3)` in metres, z up, of any size.
            It may lie anywhere: map coordinates are given as float64. What
            a `Room` has as `channels` is given to `predict`, too.
        num_classes: int.
        num_points, votes, seed: ints.
        batch_size: int, blocks at once. Defaults to 4, which takes little
            memory; on a GPU more are a little faster.
        column_size, stride: floats, in metres.

    Returns:
        int32 array `(points,)`.

    Raises:
        ValueError: if `predict` returns scores of another shape.

    Example:
    ```python
    import keras_pointpeft
    from keras_pointpeft.data import load_rooms
    from keras_pointpeft.data import predict_room

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_rooms")
    (room,) = load_rooms(num_rooms=1)
    predicted = predict_room(
        model.predict_on_batch, room, model.num_classes, num_points=1024
    )
    ```
    """
    if not isinstance(room, Room):
        points = as_floats(room)
        room = Room(points, np.zeros(len(points), "int32"), "the room")
    # As small as the votes allow: of a large scene it is the largest array.
    most = votes * most_columns(column_size, stride)
    counts = np.zeros(
        (len(room.points), num_classes), "uint8" if most < 256 else "uint16"
    )
    for vote in range(votes):
        rng = np.random.default_rng((seed, vote))
        blocks = columns(room, num_points, rng, column_size, stride)
        for points, indices, own in _batches(blocks, batch_size):
            scores = keras.ops.convert_to_numpy(predict(points))
            expected = (*indices.shape, num_classes)
            if scores.shape != expected:
                raise ValueError(
                    f"`predict` must return scores of the shape {expected}. "
                    f"Received: {scores.shape}"
                )
            found = scores.argmax(axis=-1)
            np.add.at(counts, (indices[own], found[own]), 1)
    labels = np.empty(len(counts), "int32")
    for begin in range(0, len(counts), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        labels[part] = counts[part].argmax(axis=1)
    return labels


def _batches(blocks, batch_size):
    """Blocks of columns, gathered to batches as they come."""
    waiting = []
    for block in blocks:
        waiting.append(block)
        if sum(len(points) for points, *_ in waiting) < batch_size:
            continue
        joined = [np.concatenate(part) for part in zip(*waiting)]
        whole = len(joined[0]) // batch_size * batch_size
        for begin in range(0, whole, batch_size):
            yield tuple(part[begin : begin + batch_size] for part in joined)
        waiting = [tuple(part[whole:] for part in joined)]
    joined = [np.concatenate(part) for part in zip(*waiting)]
    if len(joined[0]):
        yield tuple(joined)
