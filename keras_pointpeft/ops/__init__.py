"""Functions over point sets, the same on torch, tensorflow and jax.

Geometry is computed in float32 by direct differences, whatever the dtype
policy; indices are int32 and carry no gradient.
"""

from keras_pointpeft.ops.accelerators import accelerator_report
from keras_pointpeft.ops.accelerators import disable_accelerators
from keras_pointpeft.ops.interpolation import interpolate
from keras_pointpeft.ops.neighbors import ball_query
from keras_pointpeft.ops.neighbors import farthest_point_sample
from keras_pointpeft.ops.neighbors import gather
from keras_pointpeft.ops.neighbors import group
from keras_pointpeft.ops.neighbors import knn
from keras_pointpeft.ops.neighbors import squared_distances
from keras_pointpeft.ops.ordering import morton_order
from keras_pointpeft.ops.ordering import nearest_neighbor_chain
from keras_pointpeft.ops.points import validate_points

__all__ = [
    "accelerator_report",
    "ball_query",
    "disable_accelerators",
    "farthest_point_sample",
    "gather",
    "group",
    "interpolate",
    "knn",
    "morton_order",
    "nearest_neighbor_chain",
    "squared_distances",
    "validate_points",
]
