"""A callback that keeps a dataset's epoch equal to that of `fit`."""

import keras


class FollowEpoch(keras.callbacks.Callback):
    """Keeps a dataset's epoch equal to the epoch of `fit`.

    With it `fit(initial_epoch=7)` serves exactly the batches that an
    uninterrupted run has in epoch 7.

    Args:
        dataset: `PointCloudDataset`.

    Example:
    ```python
    import keras_pointpeft
    from keras_pointpeft.data import FollowEpoch
    from keras_pointpeft.data import PointCloudDataset
    from keras_pointpeft.data import load_shapes

    train = PointCloudDataset(load_shapes(num_clouds=40), shuffle=True)
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.fit(
        train,
        epochs=10,
        initial_epoch=9,
        shuffle=False,
        callbacks=[FollowEpoch(train)],
    )
    ```
    """

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def on_epoch_begin(self, epoch, logs=None):
        self.dataset.epoch = epoch
