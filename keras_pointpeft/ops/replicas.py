"""What the replicas of data-parallel training know of each other.

On jax there is nothing to do: a program sees the whole batch.
"""

import keras


def rank() -> int:
    """The number of this process among those of a run."""
    group = _torch_group()
    return 0 if group is None else group.get_rank()


def count() -> int:
    """How many processes train together."""
    group = _torch_group()
    return 1 if group is None else group.get_world_size()


def sharing() -> int:
    """How many devices share each batch: processes, or a process's devices."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    if backend == "jax":
        layout = keras.distribution.distribution()
        return 1 if layout is None else layout.device_mesh.devices.size
    return count()


def mean_and_count(x):
    """The mean of a tensor over all replicas, and how many there are.

    Differentiable: what depends on the mean elsewhere counts too.

    Args:
        x: float tensor, of the same shape on every replica.
    """
    backend = keras.config.backend()
    if backend == "torch" and _torch_group() is not None:
        from torch.distributed.nn import functional

        return functional.all_reduce(x) / count(), count()
    context = _tensorflow_step()
    if context is not None:
        import tensorflow as tf

        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, x)
        return mean, context.num_replicas_in_sync
    return x, 1


def sees_a_part() -> bool:
    """Whether this is a device's part of a step that Keras adds up.

    So it is for losses and gradients within a step of several devices of
    tensorflow. On the other backends they are means, or of the whole batch.
    """
    return _tensorflow_step() is not None


def sums(tensors: list) -> list:
    """The sum of each tensor over tensorflow's devices, within a step."""
    import tensorflow as tf

    context = _tensorflow_step()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def mean_of_numbers(numbers: list) -> list:
    """The mean of each of some floats over all processes."""
    group = _torch_group()
    if group is None:
        return numbers
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    values = torch.tensor(numbers, dtype=torch.float64, device=device)
    group.all_reduce(values)
    return (values / group.get_world_size()).tolist()


def _tensorflow_step():
    """What the devices of a step share; None if there are not several."""
    if keras.config.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    several = context is not None and context.num_replicas_in_sync > 1
    return context if several else None


def _torch_group():
    if keras.config.backend() != "torch":
        return None
    import torch

    group = torch.distributed
    joined = group.is_available() and group.is_initialized()
    return group if joined and group.get_world_size() > 1 else None
