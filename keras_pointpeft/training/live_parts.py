"""Which parts of a method let something through, while it trains."""

import warnings

import keras
import numpy as np
from keras import ops

from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.files import progress
from keras_pointpeft.models.watching import BlockReader
from keras_pointpeft.training import segmentation

# What is smaller counts as 0.
ZERO = 1e-7
PREFIX = "live_"


def live_shares(blocks) -> dict:
    """How much the parts of a method let through, block by block.

    Args:
        blocks: dict from blocks' names to what `TransformerBlock.watched`
            found of some clouds.

    Returns:
        dict from blocks' names to dicts from parts, as their tuner told them
        (see `keras_pointpeft.peft.BlockTuner.passes`), to the share, from 0
        to 1, of tokens for which the part is not 0; of a weight, of its
        entries. Blocks without such parts are left out.
    """
    found = {
        name: {part: _share(x) for part, x in seen["gates"].items()}
        for name, seen in blocks.items()
    }
    return {name: shares for name, shares in found.items() if shares}


def _share(x):
    x = np.abs(np.asarray(ops.convert_to_numpy(ops.stop_gradient(x))))
    if x.ndim == 3:
        x = x.max(axis=-1)
    return float(np.mean(x > ZERO))


def shares_in_words(shares) -> list[str]:
    """For each part, such as "scale lets 100, 0, 37 % through, block by block".

    Args:
        shares: dict, as `live_shares` gives.
    """
    parts = dict.fromkeys(part for own in shares.values() for part in own)
    told = []
    for part in parts:
        values = [own[part] for own in shares.values() if part in own]
        listed = ", ".join(f"{100 * value:.0f}" for value in values)
        told.append(f"{part} lets {listed} % through, block by block")
    return told


def shut(shares) -> list[tuple]:
    """Pairs of block and part of those that let nothing through."""
    return [
        (block, part)
        for block, own in shares.items()
        for part, share in own.items()
        if share == 0
    ]


def by_time(before, history, now) -> dict:
    """Shares before, in and after training, by the time in words.

    Args:
        before: optional dict, as `live_shares` gives.
        history: list of dicts, one per epoch, which may have what `LiveParts`
            logs.
        now: dict, as `live_shares` gives, of the weights that are left.
    """
    found = {} if before is None else {"before": before}
    for row in dict.fromkeys((0, len(history) // 2, len(history) - 1)):
        if not 0 <= row < len(history):
            continue
        logged = {
            block: {
                part: history[row][name_of(block, part)]
                for part in own
                if name_of(block, part) in history[row]
            }
            for block, own in now.items()
        }
        if any(logged.values()):
            found[f"after epoch {row + 1}"] = logged
    return {**found, "now": now}


def name_of(block, part):
    """The name of a part's share in logs."""
    return f"{PREFIX}{block}_{part.replace(' ', '_')}"


class LiveParts(keras.callbacks.Callback):
    """Measures which parts of a method let something through.

    Before training and after every epoch some clouds run through the
    backbone in inference. Of each part that the method tells of, such as
    DAPT's scales, Point-PEFT's gates or an adapter's output, the share of
    tokens that get something through it is logged as
    `"live_<block>_<part>"`, from 0 to 1, and the mean of all as
    `"live_parts"`. What is 0 for every token after an epoch adds nothing,
    and is warned of once. A part may start at 0 and open in training.

    Args:
        points: array `(clouds, points, 3)`. A few clouds are enough.
        backbone: optional `keras_pointpeft.models.PointBackbone`; that of
            the model that trains by default.

    Attributes:
        shares: list of dicts, as `live_shares` gives: before training, then
            one after each epoch.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    live = training.LiveParts(points[:8])
    history = model.fit(points, labels, callbacks=[live])
    live.shares[0]["block_0"]["scale"]  # before training
    history.history["live_block_0_scale"]  # after each epoch
    ```
    """

    def __init__(self, points, backbone=None):
        super().__init__()
        self.points = np.asarray(points)
        self.backbone = backbone
        self.shares = []
        self._reader = None
        self._warned = set()

    @classmethod
    def of(cls, model, split, recipe, count=8):
        """One that looks at some clouds of a split, as they are evaluated.

        Args:
            model: the task that is to train.
            split: `keras_pointpeft.data.Split`; of scenes, a list of rooms, of
                the first of which some columns are looked at.
            recipe: `Recipe`.
            count: int. At most so many clouds.
        """
        if isinstance(split, list):
            points, _ = segmentation.fixed_columns(split[:1], recipe)
            return cls(points[:count], model.backbone)
        chosen = np.linspace(0, len(split) - 1, min(count, len(split)))
        points, _ = PointCloudDataset(
            split.take(chosen.round().astype(int)),
            batch_size=count,
            num_points=recipe.num_points,
            sampling=recipe.evaluation_sampling,
        ).as_arrays()
        return cls(points, model.backbone)

    def on_train_begin(self, logs=None):
        self._reader = BlockReader(self.backbone or self.model.backbone)
        shares = self._look()
        for text in shares_in_words(shares):
            progress.tell(f"before training, {text}")

    def on_epoch_end(self, epoch, logs=None):
        shares = self._look()
        values = [x for own in shares.values() for x in own.values()]
        if not values:
            return
        for block, own in shares.items():
            for part, share in own.items():
                logs[name_of(block, part)] = round(share, 4)
        logs[f"{PREFIX}parts"] = round(float(np.mean(values)), 4)
        self._warn(epoch, shares)

    def on_train_end(self, logs=None):
        for text in shares_in_words(self.shares[-1]):
            progress.tell(f"after training, {text}")

    def _look(self):
        _, blocks = self._reader(self.points)
        self.shares.append(live_shares(blocks))
        return self.shares[-1]

    def _warn(self, epoch, shares):
        new = [pair for pair in shut(shares) if pair not in self._warned]
        self._warned.update(new)
        if new:
            listed = ", ".join(f"{block}: {part}" for block, part in new)
            warnings.warn(
                f"After epoch {epoch + 1} these parts let nothing through for "
                f"any token of {len(self.points)} clouds: {listed}. They add "
                "nothing, and may get no gradient. What to try: a lower "
                "learning rate, or another seed; for DAPT see "
                "docs/guides/comparing_methods.md.",
                stacklevel=2,
            )
