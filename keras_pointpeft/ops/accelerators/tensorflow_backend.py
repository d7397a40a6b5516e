"""tensorflow: compiles with XLA.

Several times faster than the loop in a graph, and 50 times faster than
eager. XLA is missing for Apple's GPUs, where the graph has to do.
"""

import functools
import sys

import tensorflow as tf

from keras_pointpeft.ops.accelerators import allowed
from keras_pointpeft.ops.accelerators.xla import two_level_sample
from keras_pointpeft.ops.plain import plain_knn
from keras_pointpeft.ops.plain import plain_sample

HAS_XLA = sys.platform != "darwin"


def farthest_point_sample(points, num_samples, skip_origin):
    if not allowed("xla"):
        return plain_sample(points, num_samples, skip_origin)
    count = points.shape[1]
    index = _sample(num_samples, skip_origin, count)(points)
    index.set_shape((points.shape[0], num_samples))
    return index


def knn(queries, points, k):
    if not allowed("xla"):
        return plain_knn(queries, points, k)
    index = _knn(k)(queries, points)
    index.set_shape((queries.shape[0], queries.shape[1], k))
    return index


@functools.cache
def _sample(num_samples, skip_origin, count):
    # One function for each number of points: the loop needs it static.
    return _compiled(
        two_level_sample, num_samples=num_samples, skip_origin=skip_origin
    )


@functools.cache
def _knn(k):
    return _compiled(plain_knn, k=k)


def _compiled(function, **options):
    return tf.function(
        functools.partial(function, **options),
        jit_compile=HAS_XLA,
        autograph=False,
        reduce_retracing=True,
    )


def report():
    if not allowed("xla"):
        return {}
    kind = "XLA" if HAS_XLA else "graph"
    return {
        "farthest_point_sample": {
            "any": f"{kind}, two-level arg-max, tensorflow {tf.__version__}"
        },
        "knn": {"any": f"{kind}, tensorflow {tf.__version__}"},
    }
