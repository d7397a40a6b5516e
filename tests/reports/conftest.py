import numpy as np
import pytest

from keras_pointpeft.reports.embedding import Features
from keras_pointpeft.reports.findings import CloudView
from keras_pointpeft.reports.findings import Findings

NAMES = ("chair", "table", "<b>lamp</b>")


@pytest.fixture
def found():
    """Findings with something in every part of a report."""
    rng = np.random.default_rng(0)
    clouds = []
    for i in range(2):
        points = rng.normal(size=(64, 3)).astype("float32")
        rows = list(rng.random((3, 64)).astype("float32"))
        labels = rng.integers(0, 3, (2, 64))
        clouds.append(
            CloudView(
                points,
                f"cloud {i}",
                scales=rows,
                attention=rows,
                nearest=[(points, "like it")] * 4,
                parts=(labels[0], labels[1]),
            )
        )
    labels = np.arange(12) % 3
    return Findings(
        title="A <run>",
        facts=[("accuracy", "50.00 %")],
        history=[
            {"epoch": float(i), "loss": 1.0 / (i + 1), "val_loss": 1.0}
            for i in range(3)
        ],
        class_names=NAMES,
        confusion=np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]]),
        measure="accuracy",
        per_class=np.array([0.75, 0.5, np.nan]),
        counted="clouds",
        summary={
            "components": {"prompts": 10},
            "head": 20,
            "trainable": 30,
            "total": 100,
            "share": 0.3,
        },
        features=Features(
            rng.normal(size=(12, 2)),
            rng.normal(size=(12, 2)),
            labels,
            NAMES,
            (0.2, 0.4),
        ),
        block_names=["block_0", "block_1", "block_2"],
        looks="the class token",
        live={
            "before": {"block_0": {"scale": 0.25}, "block_2": {"scale": 1.0}},
            "now": {"block_0": {"scale": 0.0}, "block_2": {"scale": 0.5}},
        },
        scale_range=rng.random((3, 2)),
        clouds=clouds,
    )
