"""What a variable's path says: whether a method has added it."""

import re

# Whatever a method adds to a backbone lives under this name.
ADDED = r"(^|/)tuner[^/]*/"


def is_added(path):
    """Whether a method has added the variable at a path to the backbone."""
    return re.search(ADDED, path) is not None


def weights_of(model):
    """Path to variable, for all weights but the states of random generators.

    Args:
        model: a built model or layer.
    """
    return {
        variable.path: variable
        for variable in model.weights
        if "seed_generator" not in variable.path
    }
