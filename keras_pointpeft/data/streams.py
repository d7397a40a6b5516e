"""What yields batches, with each batch looked at as it comes."""

import copy
import types

import keras


def checked_stream(x, door):
    """A source of batches whose batches go through a `Door`.

    Args:
        x: what `fit` takes: a `keras.utils.PyDataset`, a generator, a torch
            `DataLoader` or a `tf.data.Dataset`.
        door: `keras_pointpeft.data.incoming.Door`.

    Returns:
        A source of the same kind, or None if `x` is none of these.
    """
    if isinstance(x, CheckedDataset):
        return x
    if isinstance(x, keras.utils.PyDataset):
        return CheckedDataset(x, door)
    if isinstance(x, types.GeneratorType):
        return (door.batch(batch) for batch in x)
    if _is_from(x, "torch.utils.data", "DataLoader"):
        loader = copy.copy(x)
        loader.collate_fn = _CheckedCollate(x.collate_fn, door)
        return loader
    if hasattr(x, "element_spec") and hasattr(x, "map"):
        return _checked_tf(x, door)
    return None


class CheckedDataset(keras.utils.PyDataset):
    """A data set whose batches go through a `Door`.

    Args:
        dataset: `keras.utils.PyDataset`.
        door: `Door`.
    """

    def __init__(self, dataset, door):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.door = door

    @property
    def num_batches(self):
        return self.dataset.num_batches

    def __getitem__(self, index):
        return self.door.batch(self.dataset[index])

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()

    def on_epoch_end(self):
        self.dataset.on_epoch_end()


class _CheckedCollate:
    """What a torch `DataLoader` makes a batch with, and the door behind."""

    def __init__(self, collate, door):
        self.collate, self.door = collate, door

    def __call__(self, samples):
        return self.door.batch(self.collate(samples))


def _checked_tf(dataset, door):
    """A `tf.data.Dataset` whose batches are looked at on the host."""
    import tensorflow as tf

    def look(*batch):
        flat = tf.nest.flatten(batch)
        kinds = [tensor.dtype for tensor in flat]
        if len(batch) > 1 and door.integer_labels:
            # Behind the inputs; -1 needs a sign.
            kinds[len(tf.nest.flatten(batch[0]))] = tf.int32

        def check(*values):
            arrays = [value.numpy() for value in values]
            try:
                seen = door.batch(tf.nest.pack_sequence_as(batch, arrays))
            except ValueError as error:
                door.refused = error
                raise
            return [
                tf.cast(value, kind)
                for value, kind in zip(tf.nest.flatten(seen), kinds)
            ]

        seen = tf.py_function(check, flat, kinds)
        for tensor, before in zip(seen, flat):
            tensor.set_shape(before.shape)
        seen = tf.nest.pack_sequence_as(batch, seen)
        return seen if len(seen) > 1 else seen[0]

    return dataset.map(look)


def _is_from(x, module, name):
    return any(
        kind.__module__.startswith(module) and kind.__name__ == name
        for kind in type(x).__mro__
    )
