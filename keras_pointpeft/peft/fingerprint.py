"""Tells whether two backbones have the same frozen weights."""

import hashlib
import re

import numpy as np
from keras import ops

from keras_pointpeft.peft.method import WITH_CLASS_TOKEN

FINGERPRINT_BYTES = 32
# What the frozen pass of a backbone does not read.
NOT_OF_THE_BASE = "|".join((*WITH_CLASS_TOKEN, "seed_generator"))


def fingerprint(backbone):
    """SHA-256 of the weights that a backbone's frozen pass reads.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`. What a method has
            added to it does not count.

    Returns:
        string, hexadecimal.
    """
    digest = hashlib.sha256()
    weights = {v.path: v for v in backbone.weights}
    for path in sorted(weights):
        if re.search(NOT_OF_THE_BASE, path):
            continue
        value = ops.convert_to_numpy(weights[path])
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(value).astype("<f4").tobytes())
    return digest.hexdigest()
