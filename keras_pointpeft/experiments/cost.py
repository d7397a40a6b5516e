"""What a training step costs: its time, and the memory that it holds."""

import gc
import time
import weakref

import keras
import numpy as np
from keras import ops

from keras_pointpeft.files.progress import telling
from keras_pointpeft.peft.freezing import fingerprint
from keras_pointpeft.peft.point_peft.prior import prior_layer
from keras_pointpeft.step.running import WARM_UP


@telling("measuring time")
def interleaved_seconds(steps, repeats, warmup=1, clock=time.perf_counter):
    """Times functions in turns, so that a busy machine is fair to all.

    Args:
        steps: dict from name to function without arguments that returns when
            its work is done.
        repeats: int. Timed rounds; each calls every function once.
        warmup: int. Rounds before, which are not timed.
        clock: function that tells the seconds: `time.process_time` counts
            those of this process alone, of all its threads.

    Returns:
        dict from name to the list of its `repeats` times in seconds.

    Example:
    ```python
    seconds = interleaved_seconds({"ours": ours, "theirs": theirs}, 9)
    ratio = statistics.median(seconds["ours"]) / statistics.median(
        seconds["theirs"]
    )
    ```
    """
    seconds = {name: [] for name in steps}
    for turn in range(warmup + repeats):
        for name, step in steps.items():
            begin = clock()
            step()
            if turn >= warmup:
                seconds[name].append(clock() - begin)
    return seconds


def training_step(model, batch):
    """A training step as `fit` makes it; returns its loss.

    Args:
        model: a compiled task.
        batch: pair of arrays, what it takes and what it should give.
    """
    if keras.backend.backend() != "torch" or model.train_function is None:
        return model.train_on_batch(*batch)
    # There `train_on_batch` goes through all layers before every step.
    return float(model.train_function([batch])["loss"])


@telling("measuring memory")
def kept_for_backward(model, points, labels):
    """Bytes that the forward pass of a training step leaves to the backward.

    Each storage counts once, and variables not at all. On torch alone: the
    other backends do not tell; see `peak_growth`.

    Args:
        model: a compiled classifier.
        points: array `(batch, points, 3)`, or a dict of arrays where the model
            takes that.
        labels: int array `(batch,)`.

    Returns:
        int.
    """
    if keras.backend.backend() != "torch":
        raise ValueError(
            "What is kept for the backward pass is known on torch alone. "
            f"Received: the {keras.backend.backend()} backend"
        )
    points, labels = keras.tree.map_structure(
        ops.convert_to_tensor, (points, labels)
    )

    def forward():
        outputs = model(points, training=True)
        return model.compute_loss(
            x=points, y=labels, y_pred=outputs, training=True
        )

    return bytes_kept(forward, [v.value for v in model.variables])


def bytes_kept(forward, own=()):
    """The same of any function in torch.

    Args:
        forward: function without arguments that returns a loss.
        own: iterable of tensors that do not count, such as parameters.

    Returns:
        int.
    """
    import torch

    # Held: were a moving statistic replaced and freed meanwhile, another tensor
    # could get its address, and would not be counted.
    held = [tensor.untyped_storage() for tensor in own]
    own = {storage.data_ptr() for storage in held}
    # Weak references: parts of the graph that lead to no loss are freed, and
    # what they kept no longer counts.
    kept = weakref.WeakSet()

    def pack(tensor):
        found = _Kept(tensor)
        kept.add(found)
        return found

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x.tensor):
        loss = forward()
        # Parts that lead to no loss may be cycles, which Python frees when it
        # likes.
        gc.collect()
        # Counted while `loss` exists: the graph and all that it keeps are
        # freed with it.
        storages = [found.tensor.untyped_storage() for found in kept]
        sizes = {x.data_ptr(): x.nbytes() for x in storages}
        total = sum(size for place, size in sizes.items() if place not in own)
    del loss
    return total


class _Kept:
    """A tensor that a backward pass keeps."""

    def __init__(self, tensor):
        # Without `detach`, an output that is saved for its own gradient would
        # hold its graph, which holds the output: it would never be freed.
        self.tensor = tensor.detach()


@telling("measuring memory")
def peak_growth(step):
    """Bytes by which the process grows at most while a function runs.

    It is called once before, so that what is made once does not count as the
    peak, but as growth. On Linux alone. A process gives little memory back:
    measure one function per process. With torch on CUDA, the most bytes that
    are allocated on the device, the model's own among them.

    Args:
        step: function without arguments.

    Returns:
        int.
    """
    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            step()
            torch.cuda.reset_peak_memory_stats()
            # A capture takes what a step takes; a replay allocates nothing.
            for _ in range(WARM_UP + 1):
                step()
            return torch.cuda.max_memory_allocated()
    before = _status("VmRSS")
    step()
    # Forgets the peak so far, that of compilation.
    with open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")
    step()
    return _status("VmHWM") - before


def _status(name):
    with open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}")


def fill_bank(model, seed=0):
    """Gives a model's method a bank of random features, if it reads one.

    What a step costs does not depend on what they are.

    Args:
        model: a task.
        seed: int.
    """
    layer = prior_layer(model.backbone)
    if layer is not None:
        rng = np.random.default_rng(seed)
        features = rng.standard_normal(tuple(layer.bank.shape))
        layer.fill(features, fingerprint(model.backbone))
