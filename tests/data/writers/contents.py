"""What all the files hold, and what must be read from each of them."""

import importlib.metadata
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / "files"
# Map coordinates, where a format has the digits for them.
CORNER = np.array([400000.0, 5400000.0, 352.0])
_RNG = np.random.default_rng(0)
CLOUD = np.round(_RNG.uniform(0, [2, 1, 0.5], (40, 3)), 3)
LABELS = np.arange(40) % 3
COLORS = np.arange(120).reshape(40, 3) * 2
BESIDE = {
    "labels": LABELS.tolist(),
    "colors": COLORS.tolist(),
    "intensity": (LABELS * 7).tolist(),
}
# A cube of side 2 from quads with a pyramid on it, and a pentagon beside.
VERTICES = np.array(
    [
        (0, 0, 0), (2, 0, 0), (2, 2, 0), (0, 2, 0),
        (0, 0, 2), (2, 0, 2), (2, 2, 2), (0, 2, 2), (1, 1, 3),
        (3, 0, 0), (4, 0, 0), (4, 1, 0), (3.5, 1.5, 0), (3, 1, 0),
    ],
    "float64",
)  # fmt: skip
POLYGONS = [
    (0, 3, 2, 1), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7),
    (4, 5, 8), (5, 6, 8), (6, 7, 8), (7, 4, 8), (9, 10, 11, 12, 13),
]  # fmt: skip
TRIANGLES = np.array(
    [(p[0], p[i], p[i + 1]) for p in POLYGONS for i in range(1, len(p) - 1)]
)
# An arrow that turns back, and a square.
CONCAVE = np.array(
    [
        (0, 0, 0), (4, 0, 0), (4, 3, 0), (2, 1, 0), (0, 3, 0),
        (5, 0, 0), (6, 0, 0), (6, 1, 0), (5, 1, 0),
    ],
    "float64",
)  # fmt: skip
CONCAVE_POLYGONS = [(0, 1, 2, 3, 4), (5, 6, 7, 8)]
CONCAVE_TRIANGLES = np.array(
    [(0, 1, 3), (1, 2, 3), (0, 3, 4), (5, 6, 7), (5, 7, 8)]
)

expected = {}


def version(package):
    return f"{package} {importlib.metadata.version(package)}"


def cloud(name, writer, points=CLOUD, digits=1e-6, **more):
    expected[name] = {
        "writer": writer,
        "points": len(points),
        "min": np.min(points, axis=0).tolist(),
        "max": np.max(points, axis=0).tolist(),
        "mean": np.mean(points, axis=0).tolist(),
        "digits": digits,
        **more,
    }
    return str(FOLDER / name)


def mesh(name, writer, vertices=VERTICES, faces=TRIANGLES, **more):
    corners = vertices[faces]
    area = np.cross(
        corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    )
    expected[name] = {
        "writer": writer,
        "area": float(np.linalg.norm(area, axis=1).sum() / 2),
        "min": corners.min((0, 1)).tolist(),
        "max": corners.max((0, 1)).tolist(),
        "digits": 1e-6,
        **more,
    }
    return str(FOLDER / name)
