"""Features in the plane, before and after training."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Features:
    """Features of clouds in the plane, by t-SNE.

    Attributes:
        before: array `(clouds, 2)`, of the backbone before training.
        after: array `(clouds, 2)`, of what the head reads after it.
        labels: int array `(clouds,)`.
        class_names: tuple of strings.
        agreement: two floats, before and after: the part of clouds whose
            five nearest neighbours, by the angle of the whole features, vote
            for their class.
    """

    before: np.ndarray
    after: np.ndarray
    labels: np.ndarray
    class_names: tuple
    agreement: tuple


def embed(before, after, labels, class_names):
    """Draws features of clouds before and after training in the plane.

    Args:
        before: array `(clouds, features)`.
        after: array `(clouds, other features)`.
        labels: int array `(clouds,)`.
        class_names: tuple of strings.

    Returns:
        `Features`, or None for less than 5 clouds.
    """
    if len(labels) < 5:
        return None
    return Features(
        _tsne(before),
        _tsne(after),
        np.asarray(labels),
        class_names,
        (neighbor_accuracy(before, labels), neighbor_accuracy(after, labels)),
    )


def _tsne(features):
    from sklearn.manifold import TSNE

    features = np.asarray(features, "float64")
    spread = features.std(axis=0)
    features = (features - features.mean(axis=0)) / np.where(
        spread > 0, spread, 1
    )
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(
        perplexity=perplexity, init="pca", random_state=0
    ).fit_transform(features)


def neighbor_accuracy(features, labels):
    """Leave-one-out accuracy of a vote of five nearest neighbours, by angle.

    The lowest label wins ties.

    Args:
        features: array `(clouds, features)`.
        labels: int array `(clouds,)`.

    Returns:
        float.
    """
    labels = np.asarray(labels)
    features = np.asarray(features, "float64")
    length = np.linalg.norm(features, axis=1, keepdims=True)
    features = features / np.maximum(length, 1e-12)
    similar = features @ features.T
    np.fill_diagonal(similar, -np.inf)
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :5]
    votes = np.zeros((len(labels), labels.max() + 1), int)
    rows = np.arange(len(labels))[:, None]
    np.add.at(votes, (rows, labels[nearest]), 1)
    return float(np.mean(votes.argmax(axis=1) == labels))
