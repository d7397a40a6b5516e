"""torch: a function of tensors as one CUDA graph."""

import contextlib
import gc

import torch


class Graph:
    """A captured function, to be replayed.

    Args:
        function: from a list of tensors to a list of tensors, all of them on
            one GPU. It has run before, on `side_stream`.
        inputs: list of tensors that it reads in each replay.

    Raises:
        CaptureFailed: everything is then as it was before.
    """

    reason = None

    def __init__(self, function, inputs):
        device = inputs[0].device
        self.graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[device.index]
        before = generator.get_state()
        pool, reason = _pool(device), None
        # `keras.tree` leaves circles of references to tensors, and by them
        # nodes of earlier steps, perhaps of another stream, which a capture
        # must not meet.
        gc.collect()
        try:
            with torch.cuda.graph(
                self.graph,
                pool=pool,
                stream=side_stream(device),
                # Other threads may read figures of earlier steps meanwhile.
                capture_error_mode="thread_local",
            ):
                self.outputs = function(inputs)
        except Exception as error:
            reason = _root(error)
        if reason is not None:
            self.graph = self.outputs = None
            _recover(generator, before, pool)
            raise CaptureFailed(reason)
        self.recoveries = _RECOVERIES[0]

    @property
    def valid(self):
        """Whether it draws from the random generator that is there now."""
        return self.recoveries == _RECOVERIES[0]

    def __call__(self):
        self.graph.replay()
        return self.outputs


class CaptureFailed(RuntimeError):
    """A function cannot be captured; the message says why."""


# By device: graphs are replayed one after the other, so that they can share
# their memory, and what runs before a capture must do so on its stream.
_POOLS, _STREAMS = {}, {}
# How often a broken capture made the random generator another one.
_RECOVERIES = [0]


def side_stream(device):
    """The stream of captures on a device."""
    if device not in _STREAMS:
        _STREAMS[device] = torch.cuda.Stream(device)
    return _STREAMS[device]


def on_side_stream(function, inputs):
    """Calls a function as it is before its capture."""
    device = inputs[0].device
    side, current = side_stream(device), torch.cuda.current_stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        outputs = function(inputs)
    current.wait_stream(side)
    for output in outputs:
        output.record_stream(current)
    return outputs


def _pool(device):
    if device not in _POOLS:
        _POOLS[device] = torch.cuda.graph_pool_handle()
    return _POOLS[device]


def _end_allocation(device, pool):
    """As PyTorch's own trees of graphs do it, for which it has no public way.

    Without these functions, or if the capture did end it, there is nothing to
    do: `RuntimeError` says the latter.
    """
    end = getattr(torch._C, "_cuda_endAllocateToPool", None)
    release = getattr(torch._C, "_cuda_releasePool", None)
    if end is None or release is None:
        return
    with contextlib.suppress(RuntimeError):
        end(device.index, pool)
        release(device.index, pool)


def _root(error):
    """The first of the errors: the end of a broken capture fails too."""
    while error.__context__ is not None:
        error = error.__context__
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"


def _recover(generator, before, pool):
    """Gives back memory, and a random generator that is not captured.

    The generator of a capture that broke off believes that it goes on. Its
    state is a part that can be exchanged. So does the allocator, where the
    end of the capture failed too.
    """
    _RECOVERIES[0] += 1
    _end_allocation(generator.device, pool)
    # What takes this one's place knows nothing of what happened.
    _POOLS.pop(generator.device, None)
    gc.collect()
    torch.cuda.synchronize()
    fresh = torch.Generator(device=generator.device)
    fresh.set_state(before)
    generator.graphsafe_set_state(fresh.graphsafe_get_state())
    torch.cuda.empty_cache()
