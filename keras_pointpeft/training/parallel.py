"""Data-parallel training: each backend's own engine behind one interface.

* torch: one process per device under `torchrun`, gradients by
  `torch.nn.parallel.DistributedDataParallel`;
* tensorflow: `tf.distribute.MirroredStrategy` over a machine's devices;
* jax: `keras.distribution.DataParallel` over all devices.
"""

import contextlib
import functools
import os

import keras

from keras_pointpeft.ops import replicas


def start(all_devices=False):
    """Joins the other processes, if there are any.

    Under `torchrun` (or anything that sets `WORLD_SIZE`, `RANK`,
    `LOCAL_RANK` and `MASTER_ADDR`) the torch backend connects through NCCL on
    GPUs and Gloo elsewhere. Call it before anything is built, and `finish`
    at the end.

    Args:
        all_devices: bool. Whether tensorflow and jax, in one process, share
            each batch among all devices.

    Returns:
        A context manager; build, compile and train the model within it.

    Example:

    ```python
    with parallel.start():
        model = keras_pointpeft.from_preset("dapt_pointmae_scanobjectnn")
        train(model, train_split, test_split, recipe, log_dir="runs/a")
    parallel.finish()
    ```
    """
    backend = keras.config.backend()
    if backend == "torch":
        return _start_torch()
    if not all_devices:
        return contextlib.nullcontext()
    if backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_logical_devices
        names = [d.name for d in devices("GPU") or devices("CPU")]
        return tf.distribute.MirroredStrategy(names).scope()
    return keras.distribution.DataParallel().scope()


def finish():
    """Leaves the group of processes that `start` joined."""
    if keras.config.backend() == "torch" and replicas.count() > 1:
        import torch

        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def check(recipe):
    """Raises ValueError if a recipe cannot run on several devices here."""
    if keras.config.backend() != "tensorflow":
        return
    import tensorflow as tf

    if not tf.distribute.has_strategy():
        return
    if recipe.double_step:
        raise ValueError(
            "On several devices of tensorflow, a batch makes one step; use "
            "torch or jax for `double_step`. Received: double_step=True"
        )
    if recipe.gradient_accumulation > 1:
        raise ValueError(
            "On several devices of tensorflow, Keras cannot accumulate "
            "gradients; use a larger batch, or torch or jax. Received: "
            f"gradient_accumulation={recipe.gradient_accumulation}"
        )


def writes() -> bool:
    """Whether this process is the one that writes files and reports."""
    return replicas.rank() == 0


@contextlib.contextmanager
def synchronized(model):
    """Within it, `fit` averages the gradients of all processes.

    Args:
        model: a compiled and built model. All processes get the variables
            that it has in the first.
    """
    if keras.config.backend() != "torch" or replicas.count() == 1:
        yield
        return
    import torch

    ids = [torch.cuda.current_device()] if torch.cuda.is_available() else None
    replicated = torch.nn.parallel.DistributedDataParallel(
        _torch_module(model), device_ids=ids
    )
    model.train_step = functools.partial(_train_step, model, replicated)
    try:
        yield
    finally:
        del model.train_step


class MeanOfReplicas(keras.callbacks.Callback):
    """Replaces each figure of an epoch by its mean over all processes.

    It must stand before the callbacks that read the figures.
    """

    def on_epoch_end(self, epoch, logs=None):
        names = sorted(logs)
        values = replicas.mean_of_numbers([float(logs[n]) for n in names])
        logs.update(zip(names, values))


def _start_torch():
    import torch

    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    return contextlib.nullcontext()


def _torch_module(model):
    """The model's variables and call, as PyTorch knows them.

    A Keras model is a module too, but does not always name its parameters.
    """
    import torch

    class Call(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.values = torch.nn.ParameterList(
                variable.value for variable in model.variables
            )

        def forward(self, inputs):
            return model(inputs, training=True)

    return Call()


def _train_step(model, replicated, data):
    """Keras' own training step, with the call through `replicated`."""
    import torch

    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    output = replicated(x)
    model.zero_grad()
    loss = model.compute_loss(x, y, output, weight, training=True)
    model.metrics[0].update_state(loss, sample_weight=len(output))
    model.optimizer.scale_loss(loss).backward()
    variables = model.trainable_variables
    with torch.no_grad():
        model.optimizer.apply([v.value.grad for v in variables], variables)
    return model.compute_metrics(x, y, output, sample_weight=weight)
