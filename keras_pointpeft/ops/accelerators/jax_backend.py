"""jax: compiles the sampling loop once.

Called eagerly, a loop would be compiled anew each time.
"""

import functools

import jax

from keras_pointpeft.ops.sampling_loop import plain_sample


@functools.partial(jax.jit, static_argnums=(1, 2))
def farthest_point_sample(points, num_samples, skip_origin):
    return plain_sample(points, num_samples, skip_origin)
