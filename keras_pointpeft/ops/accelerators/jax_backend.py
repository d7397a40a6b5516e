"""jax: compiles what is called outside of a compiled model, once."""

import functools

import jax

from keras_pointpeft.ops.accelerators import allowed
from keras_pointpeft.ops.accelerators.xla import two_level_sample
from keras_pointpeft.ops.plain import plain_knn
from keras_pointpeft.ops.plain import plain_sample


def farthest_point_sample(points, num_samples, skip_origin):
    sample = _sample if allowed("xla") else plain_sample
    return sample(points, num_samples, skip_origin)


def knn(queries, points, k):
    nearest = _knn if allowed("xla") else plain_knn
    return nearest(queries, points, k)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _sample(points, num_samples, skip_origin):
    return two_level_sample(points, num_samples, skip_origin)


@functools.partial(jax.jit, static_argnums=2)
def _knn(queries, points, k):
    return plain_knn(queries, points, k)


def report():
    if not allowed("xla"):
        return {}
    compiled = {"any": f"jit, jax {jax.__version__}"}
    return {
        "farthest_point_sample": {
            "any": f"jit, two-level arg-max, jax {jax.__version__}"
        },
        "knn": compiled,
    }
