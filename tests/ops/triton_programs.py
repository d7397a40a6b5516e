"""Programs that `test_triton` runs in processes of their own.

Triton decides at import whether it interprets, and some versions of it cannot
be loaded after tensorflow.
"""

import importlib
import re
import sys

import numpy as np

ARCHITECTURES = (80, 86, 89, 90, 100, 120)
INTEGER, FLOAT = "*i32", "*fp32"
SIGNATURES = {
    "farthest_points": (
        {"points": FLOAT, "chosen": INTEGER},
        ("count", "num_samples"),
        {"SKIP": 1, "BLOCK": 256},
    ),
    "nearest_points": (
        {"queries": FLOAT, "points": FLOAT, "found": INTEGER, "offsets": FLOAT},
        ("num_queries", "count", "k"),
        {"GROUP": 1, "BLOCK": 256},
    ),
    "weighted_sum": (
        {"values": FLOAT, "index": INTEGER, "weights": FLOAT, "mixed": FLOAT},
        ("num_queries", "count", "channels", "k"),
        {"BLOCK": 256},
    ),
    "weighted_sum_gradients": (
        {
            "values": FLOAT,
            "index": INTEGER,
            "weights": FLOAT,
            "gradient": FLOAT,
            "to_values": FLOAT,
            "to_weights": FLOAT,
        },
        ("num_queries", "count", "channels", "k"),
        {"BLOCK": 256},
    ),
}


def indices():
    """Interpreted, the kernels give what the definition gives."""
    import torch

    from keras_pointpeft.ops.accelerators import torch_cuda

    from . import clouds

    for kind in clouds.KINDS:
        for count, number in ((37, 37), (200, 40)):
            points = clouds.make(kind, 2, count)
            tensor = torch.from_numpy(points)
            for skip in (False, True):
                found = torch_cuda.farthest_point_sample(tensor, number, skip)
                expected = [clouds.sample(p, number, skip) for p in points]
                np.testing.assert_array_equal(found, expected, kind)
        queries = tensor[:, 5:15]
        index, offsets = torch_cuda.group(queries, tensor, 9)
        expected = [clouds.neighbors(p[5:15], p, 9) for p in points]
        np.testing.assert_array_equal(index, expected, kind)
        plain = torch_cuda.knn(queries, tensor, 9)
        np.testing.assert_array_equal(plain, expected, kind)
        for cloud, near, offset in zip(points, index, offsets):
            moved = cloud[near] - cloud[5:15, None]
            np.testing.assert_array_equal(offset, moved, kind)


def grouping():
    """`ops.group` with the kernel equals the plain one, bit by bit."""
    import torch

    from keras_pointpeft import ops
    from keras_pointpeft.ops.accelerators import torch_cuda

    from . import clouds

    kernel, calls = torch_cuda.group, []

    def counted(*arguments):
        calls.append(arguments)
        return kernel(*arguments)

    # Interpreted, there is a kernel for tensors on a CPU too.
    torch_cuda.fits = lambda points, k=1: True
    torch_cuda.group = counted
    for kind in clouds.KINDS:
        points = torch.from_numpy(clouds.make(kind, 2, 90))
        centers = points[:, 5:12]
        with ops.disable_accelerators():
            plain = ops.group(points, centers, 9)
        fused = ops.group(points, centers, 9)
        for one, other in zip(fused, plain):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other, kind)
    assert len(calls) == len(clouds.KINDS)
    # The kernel has no gradient, so that it may not stand in here.
    points.requires_grad_(True)
    ops.group(points, centers, 9)[1].sum().backward()
    assert len(calls) == len(clouds.KINDS)
    assert points.grad.abs().sum() > 0
    with torch.no_grad():
        ops.group(points, centers, 9)
    assert len(calls) == len(clouds.KINDS) + 1


def interpolation():
    """Interpreted, value and gradients equal the plain sum's."""
    import torch

    from keras_pointpeft.ops.accelerators import torch_cuda
    from keras_pointpeft.ops.interpolation import plain_weighted_sum

    generator = torch.Generator().manual_seed(0)
    values = torch.randn((2, 11, 37), generator=generator, requires_grad=True)
    weights = torch.rand((2, 9, 3), generator=generator, requires_grad=True)
    index = torch.randint(0, 11, (2, 9, 3), generator=generator).int()
    gradient = torch.randn((2, 9, 37), generator=generator)
    results = []
    for function in (torch_cuda.weighted_sum, plain_weighted_sum):
        mixed = function(values, index, weights)
        found = torch.autograd.grad(mixed, (values, weights), gradient)
        results.append([mixed.detach(), *found])
    for fast, plain in zip(*results):
        np.testing.assert_allclose(fast, plain, atol=1e-5)


def empty():
    """Nothing is launched for an empty batch."""
    import torch

    from keras_pointpeft.ops.accelerators import torch_cuda

    none = torch.zeros((0, 9, 3))
    assert torch_cuda.farthest_point_sample(none, 4, False).shape == (0, 4)
    assert torch_cuda.knn(none, none, 4).shape == (0, 9, 4)
    index = torch.zeros((0, 9, 3), dtype=torch.int32)
    assert torch_cuda.weighted_sum(none, index, none).shape == (0, 9, 3)


def compilation(*architectures):
    """Compiled for a GPU that is not there, nothing is contracted."""
    from keras_pointpeft.ops.accelerators import torch_cuda

    kernels = torch_cuda.kernels()
    import triton
    from triton.backends.compiler import GPUTarget

    for name, (pointers, integers, constants) in SIGNATURES.items():
        signature = {
            **pointers,
            **dict.fromkeys(integers, "i32"),
            **dict.fromkeys(constants, "constexpr"),
        }
        source = triton.compiler.ASTSource(
            getattr(kernels, name), signature, constants
        )
        for architecture in architectures:
            target = GPUTarget("cuda", int(architecture), 32)
            compiled = triton.compile(source, target=target)
            assert len(compiled.asm["cubin"]) > 0
            if "points" in name:
                assert_rounded(compiled.asm["ptx"])


def assert_rounded(assembly):
    """Every product and sum is rounded on its own.

    `mul.rn` is never contracted, `mul` without `.rn` may be.
    """
    assert "fma." not in assembly
    assert re.search(r"\bmul\.rn\.(ftz\.)?f32", assembly)
    assert not re.search(r"\b(mul|add)\.(ftz\.)?f32", assembly)


def loading(*order):
    """Triton and tensorflow live in one process, whichever comes first."""
    for name in order:
        importlib.import_module(name)
    compilation(90)
    import tensorflow as tf

    doubled = tf.function(lambda x: 2 * x, jit_compile=True)
    assert doubled(tf.constant(2.0)).numpy() == 4.0


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
