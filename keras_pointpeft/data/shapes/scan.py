"""What a depth sensor would return of a shape in a room.

The sensor stands beside and above the object. Faces turned away are not
seen, nor what a depth map of the scene hides; the density falls with the
distance and the slant of the surface; depths are noisy, edges bleed, shiny
patches stay empty. The cloud is what lies in a loose, displaced box about the
object: some of its floor, wall and neighbours, and perhaps not all of itself.
"""

from typing import NamedTuple

import numpy as np

from keras_pointpeft.data.shapes import primitives as p
from keras_pointpeft.data.shapes.categories import CATEGORIES
from keras_pointpeft.data.shapes.categories import Solid
from keras_pointpeft.data.shapes.categories import build
from keras_pointpeft.data.shapes.dice import Dice
from keras_pointpeft.data.shapes.surface import Samples
from keras_pointpeft.data.shapes.surface import sample

BACKGROUND = 0


class View(NamedTuple):
    """A sensor: its position and what it looks at, (3,) each."""

    eye: np.ndarray
    target: np.ndarray


def visible(points, normals, view, resolution=0.04):
    """Which points of a scene a sensor sees.

    A surface point is seen if its normal turns towards the sensor and no
    other point lies clearly before it in the same pixel of a depth map.

    Args:
        points: (n, 3). Dense samples of all surfaces in the scene.
        normals: (n, 3). Their outward unit normals.
        view: `View`.
        resolution: width of a pixel, as the ratio of width to depth.

    Returns:
        Seen or not, (n,) bool; cosine of the slant, (n,); distance, (n,).
    """
    ways = view.eye - points
    distance = np.sqrt(p.dot(ways, ways))
    slant = p.dot(ways, normals) / distance
    forward = view.target - view.eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), forward], axis=1)
    x, y, depth = np.einsum("ij,jk->ki", -ways, axes)
    ahead = depth > 1e-6
    scale = 1.0 / (np.maximum(depth, 1e-6) * resolution)
    limit = 100
    column = np.clip(np.floor(x * scale), -limit, limit - 1) + limit
    row = np.clip(np.floor(y * scale), -limit, limit - 1) + limit
    pixels = (2 * limit * row + column).astype("int64")
    facing = ahead & (slant > 0)
    nearest = np.full(4 * limit * limit, np.inf)
    np.minimum.at(nearest, pixels[facing], distance[facing])
    # A slanted surface fills a range of depths within one pixel.
    slack = distance * resolution * (1.0 + 1.0 / np.maximum(slant, 0.25))
    return facing & (distance < nearest[pixels] + slack), slant, distance


def scan(solid, num_points, rng):
    """Scans a shape that stands on y = 0.

    Args:
        solid: `Solid`, in any scale.
        num_points: points of the cloud.
        rng: `numpy.random.Generator`.

    Returns:
        Points, (num_points, 3), in the units of a shape with radius 1, and
        their parts, (num_points,) int32, `BACKGROUND` where not the shape.
    """
    d = Dice(rng)
    solid = _posed(solid, d)
    views = _views(d)
    eyes = np.stack([view.eye for view in views])
    scene = _surroundings(solid, views[0], d)
    own = sample(solid, 4 * num_points, rng, eyes)
    other = sample(scene, 3 * num_points, rng, eyes)
    both = Samples(*(np.concatenate(pair) for pair in zip(own, other)))
    is_own = np.arange(len(both.points)) < len(own.points)

    weight = np.zeros(len(both.points))
    source = np.zeros((len(both.points), 3))
    resolution = 1.6 / np.sqrt(num_points)
    falloff = d.between(0.5, 1.2)
    for view in views:
        seen, slant, distance = visible(
            both.points, both.normals, view, resolution / 3.0 * 1.2
        )
        density = np.maximum(slant, 0.02) / distance**2
        weight += np.where(seen, density**falloff, 0.0)
        source[seen] = view.eye
    weight *= _inside_crop(both.points, is_own, weight, d)
    weight *= _uneven(both.points, is_own, weight, d)

    share = d.between(0.05, 0.4)
    backdrop = min(int(share * num_points), int((weight[~is_own] > 0).sum()))
    chosen = np.concatenate(
        [
            _draw(np.where(is_own, weight, 0.0), num_points - backdrop, rng),
            _draw(np.where(is_own, 0.0, weight), backdrop, rng),
        ]
    )
    chosen = rng.permutation(chosen)
    parts = both.parts[chosen].copy()
    points = _sensed(both.points[chosen], source[chosen], parts, d)
    return points, parts


def _posed(solid, d):
    """Stretched a little, radius 1, turned about the vertical."""
    vertices = solid.mesh.vertices
    low, high = p.bounds(vertices)
    vertices = vertices - ((low + high) / 2 * (1, 0, 1) + low * (0, 1, 0))
    vertices = vertices * [d.between(0.88, 1.12) for _ in range(3)]
    middle = np.array((0.0, vertices[:, 1].max() / 2, 0.0))
    radius = np.sqrt(p.dot(vertices - middle, vertices - middle).max())
    mesh = p.Mesh(vertices / radius, solid.mesh.faces)
    mesh = p.turned(mesh, "y", d.between(0.0, 2 * np.pi))
    return Solid(mesh, solid.parts)


def _views(d):
    """One position of the sensor, or two that see more of the object."""
    azimuth = d.between(0.0, 2 * np.pi)
    target = np.array((0.0, 0.4, 0.0))
    views = []
    for _ in range(1 if d.chance(0.65) else 2):
        elevation = d.between(0.05, 0.85)
        distance = d.between(2.2, 4.5)
        way = np.array(
            (
                np.cos(azimuth) * np.cos(elevation),
                np.sin(elevation),
                np.sin(azimuth) * np.cos(elevation),
            )
        )
        views.append(View(target + distance * way, target))
        azimuth += d.pick(-1.0, 1.0) * d.between(0.5, 1.8)
    return views


def _surroundings(solid, view, d):
    """Floor, perhaps a wall behind, and up to three neighbours."""
    pieces = [_patch(3.0, 8)]
    if d.chance(0.3):
        wall = p.turned(_patch(3.0, 8), "x", np.pi / 2)
        way = view.target - view.eye
        angle = np.arctan2(-way[0], -way[2]) + d.between(-0.6, 0.6)
        wall = p.moved(wall, (0, 0, -d.between(0.75, 1.1)))
        pieces.append(p.turned(wall, "y", angle))
    for _ in range(d.pick(0, 1, 1, 2, 3)):
        piece = _neighbour(d)
        reach = np.abs(solid.mesh.vertices[:, (0, 2)]).max()
        size = np.abs(piece.vertices[:, (0, 2)]).max()
        angle = d.between(0.0, 2 * np.pi)
        away = (reach + size) * d.between(0.75, 1.1)
        at = (away * np.cos(angle), 0.0, away * np.sin(angle))
        pieces.append(p.moved(piece, at))
    mesh = p.merge(*pieces)
    parts = np.full(len(mesh.faces), BACKGROUND, dtype="int32")
    return Solid(mesh, parts)


def _patch(size, cells):
    """A square of the floor: an open sheet that faces up."""
    ticks = np.linspace(-size / 2, size / 2, cells + 1)
    z, x = np.meshgrid(ticks, ticks, indexing="ij")
    vertices = np.stack([x, 0 * x, z], axis=-1).reshape(-1, 3)
    corner = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b = corner[:-1, :-1].ravel(), corner[:-1, 1:].ravel()
    c, e = corner[1:, 1:].ravel(), corner[1:, :-1].ravel()
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([a, e, c], -1)])
    return p.Mesh(vertices, faces)


def _neighbour(d):
    kind = d.pick("shape", "shape", "box", "post", "ball")
    size = d.between(0.3, 1.2)
    turn = d.between(0.0, 2 * np.pi)
    if kind == "shape":
        mesh = build(d.pick(*CATEGORIES), d.rng).mesh
        low, high = p.bounds(mesh.vertices)
        mesh = p.moved(mesh, -(low + high) / 2 * (1, 0, 1))
        mesh = p.scaled(mesh, 1.2 * size / (high - low).max())
    elif kind == "box":
        sides = size * np.array([d.between(0.3, 1.0) for _ in range(3)])
        mesh = p.box(sides)
    elif kind == "post":
        mesh = p.cylinder(size * d.between(0.1, 0.4), 1.5 * size)
    else:
        sides = size * np.array([d.between(0.4, 0.8) for _ in range(3)])
        mesh = p.ellipsoid(sides, (0, d.between(0.2, 0.5) * size, 0), 3.0)
    return p.turned(mesh, "y", turn)


def _inside_crop(points, is_own, weight, d):
    """The loose box about the object, shifted by a share of its size."""
    low, high = p.bounds(points[is_own])
    size = high - low
    margin = d.between(0.02, 0.12)
    shift = size * [d.between(-0.18, 0.18) for _ in range(3)]
    shift[1] *= 0.5
    low, high = low - margin + shift, high + margin + shift
    inside = np.ones(len(points), dtype=bool)
    for k in range(3):
        inside &= (points[:, k] > low[k]) & (points[:, k] < high[k])
    seen = is_own & (weight > 0)
    if (inside & seen).sum() < 0.5 * seen.sum():
        return np.where(is_own, 1.0, inside)
    return inside.astype("float64")


def _uneven(points, is_own, weight, d):
    """A gradient of the density, and holes where nothing came back."""
    way = np.array([d.between(-1.0, 1.0) for _ in range(3)])
    factor = np.exp(d.between(0.0, 1.5) * np.einsum("ij,j->i", points, way))
    seen = np.flatnonzero(is_own & (weight > 0))
    for _ in range(d.pick(0, 0, 1, 2, 3)):
        center = points[seen[int(d.rng.random() * len(seen))]]
        radius = d.between(0.08, 0.25)
        hole = p.dot(points - center, points - center) < radius**2
        factor *= np.where(hole, 0.03, 1.0)
    return factor


def _draw(weight, count, rng):
    """`count` indices by weight, without repetition as far as they go."""
    found = np.flatnonzero(weight > 0)
    keys = rng.exponential(size=len(found)) / weight[found]
    if len(found) > count:
        # Sorted, as the order within a partition differs among machines.
        return found[np.sort(np.argpartition(keys, count)[:count])]
    if len(found) == count:
        return found
    more = found[(rng.random(count - len(found)) * len(found)).astype(int)]
    return np.concatenate([found, more])


def _sensed(points, source, parts, d):
    """Noise along the ray, bleeding edges and a few stray returns."""
    count = len(points)
    rays = points - source
    distance = np.sqrt(p.dot(rays, rays))[:, None]
    rays = rays / distance
    sigma = d.between(0.004, 0.018) * (distance / 3.0) ** 2
    noise = d.rng.standard_normal((count, 1))
    points = points + rays * sigma * noise
    points = points + 0.3 * sigma * d.rng.standard_normal((count, 3))
    bleeding = d.rng.random(count) < d.between(0.0, 0.03)
    far = d.rng.random((count, 1)) ** 2 * 0.35
    points = np.where(bleeding[:, None], points + rays * far, points)
    stray = d.rng.random(count) < d.between(0.0, 0.015)
    low, high = p.bounds(points)
    anywhere = low + (high - low) * d.rng.random((count, 3))
    parts[stray] = BACKGROUND
    return np.where(stray[:, None], anywhere, points)
