"""Which features of a bank to keep when it is to be smaller."""

import numpy as np


def random(features, labels, size, rng):
    """Any of them."""
    return rng.permutation(len(features))[:size]


def class_balanced(features, labels, size, rng):
    """As many of each class as possible."""
    if labels is None:
        raise ValueError(
            "Class-balanced sampling needs labels: build the bank with "
            "them. Received: a bank without labels"
        )
    order = rng.permutation(len(features))
    seen, turn = {}, np.empty(len(features), "int64")
    for i in order:
        label = int(labels[i])
        turn[i] = seen[label] = seen.get(label, -1) + 1
    return order[np.argsort(turn[order], kind="stable")][:size]


def k_center(features, labels, size, rng):
    """Greedily the one that is farthest from those kept."""
    features = features.astype("float32")
    chosen = [int(rng.integers(len(features)))]
    nearest = np.full(len(features), np.inf, "float32")
    while len(chosen) < size:
        distance = np.sum((features - features[chosen[-1]]) ** 2, axis=1)
        nearest = np.minimum(nearest, distance)
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)


SAMPLINGS = {
    "random": random,
    "class_balanced": class_balanced,
    "k_center": k_center,
}
