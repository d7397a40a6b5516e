"""Legs, pedestals and plates that several pieces of furniture share."""

import numpy as np

from keras_pointpeft.data.shapes import primitives as p


def plate(d, size, at=(0.0, 0.0, 0.0), shape=None):
    """A seat or table top: rectangular, rounded or round."""
    shape = shape or d.pick("box", "box", "rounded", "round")
    if shape == "box":
        return p.box(size, at)
    power = d.between(4.0, 9.0) if shape == "rounded" else 2.0
    return p.slab(size, at, power)


def corners(x, z, y=0.0):
    """The four corners of a rectangle of half sizes x and z at height y."""
    return np.array([(-x, y, -z), (-x, y, z), (x, y, -z), (x, y, z)])


def legs(d, width, height, depth, style=None, thickness=None):
    """Supports standing on the floor under a plate, as a list of meshes.

    Args:
        d: `Dice`.
        width: extent in x of the plate above.
        height: of the legs.
        depth: extent in z of the plate above.
        style: "square", "round", "splayed", "panels", "frames", "trestle" or
            "tripod". Drawn when not given.
        thickness: of a leg. Drawn when not given.
    """
    style = style or d.pick(
        "square", "square", "round", "splayed", "splayed", "frames"
    )
    small = min(width, depth)
    t = thickness or small * d.between(0.05, 0.13)
    x = width / 2 - t * d.between(0.6, 1.2)
    z = depth / 2 - t * d.between(0.6, 1.2)
    if style == "square":
        feet = corners(x, z)
        taper = d.between(0.5, 1.0)
        lower = p.box((t * taper, height, t * taper), feet, (1 / taper,) * 2)
        return [lower, *_stretchers(d, x, z, height, t)]
    if style in ("round", "splayed", "tripod"):
        spread = 0.0 if style == "round" else small * d.between(0.03, 0.2)
        inset = d.between(0.6, 0.95)
        if style == "tripod":
            angle = 2 * np.pi * (np.arange(3) / 3 + d.pick(0.25, 0.75))
            tops = np.stack(
                [x * np.cos(angle), np.full(3, height), z * np.sin(angle)], -1
            )
        else:
            tops = corners(x, z, height)
        tops = tops * np.array((inset, 1.0, inset))
        taper = d.between(0.5, 1.0)
        meshes = []
        for top in tops:
            way = np.sign(top) if style != "tripod" else top / (x + z) * 2
            foot = top + way * (spread, 0.0, spread)
            foot[1] = 0.0
            meshes.append(p.tube([foot, top], (t / 2 * taper, t / 2)))
        if style != "splayed":
            meshes.extend(_stretchers(d, x * inset, z * inset, height, t))
        return meshes
    if style == "panels":
        wide = depth * d.between(0.7, 1.0)
        return [p.box((t, height, wide), [(-x, 0, 0), (x, 0, 0)])]
    if style == "frames":
        return [_frame(side * x, z, height, t) for side in (-1, 1)] + (
            _stretchers(d, x, z, height, t) if d.chance(0.3) else []
        )
    if style == "trestle":
        spread = depth * d.between(0.25, 0.45)
        meshes = [
            p.rod((side, 0, end), (side, height, -end * 0.2), t / 2, 6)
            for side in (-x * 0.8, x * 0.8)
            for end in (-spread, spread)
        ]
        bar = height * d.between(0.3, 0.7)
        return meshes + [p.rod((-x * 0.8, bar, 0), (x * 0.8, bar, 0), t / 3)]
    raise ValueError(f"Unknown style of legs. Received: style={style!r}")


def _frame(x, z, height, t):
    beam = p.box((t, t, 2 * z + t), [(x, 0.0, 0.0), (x, height - t, 0.0)])
    return p.merge(beam, p.box((t, height, t), [(x, 0, -z), (x, 0, z)]))


def _stretchers(d, x, z, height, t):
    kind = d.pick("none", "none", "sides", "ring", "h")
    y = height * d.between(0.15, 0.6)
    bar = t * 0.6
    along = [(-x, y, 0.0), (x, y, 0.0)]
    across = [(0.0, y, -z), (0.0, y, z)]
    if kind == "none":
        return []
    meshes = [p.box((bar, bar, 2 * z), along)]
    if kind == "ring":
        meshes.append(p.box((2 * x, bar, bar), across))
    elif kind == "h":
        meshes.append(p.box((2 * x, bar, bar), (0.0, y, 0.0)))
    return meshes


def pedestal(d, height, radius, kind=None):
    """A column on a disc, a cone or a star of feet, as a list of meshes."""
    kind = kind or d.pick("disc", "disc", "star", "star", "cone")
    column = radius * d.between(0.08, 0.22)
    if kind == "cone":
        waist = d.between(0.1, 0.35)
        profile = [
            (radius, 0.0),
            (radius * d.between(0.5, 0.9), height * 0.06),
            (radius * waist, height * d.between(0.25, 0.5)),
            (radius * d.between(waist, 0.6), height),
        ]
        return [p.lathe(p.spline(profile, 9))]
    if kind == "disc":
        thick = height * d.between(0.03, 0.08)
        disc = p.cylinder(radius, thick, top=d.between(0.6, 1.0), sides=20)
        return [disc, p.cylinder(column, height - thick, (0, thick, 0))]
    feet = d.count(3, 5)
    rise = height * d.between(0.1, 0.3)
    turn = d.between(0, 2 * np.pi)
    wheels = d.chance(0.5)
    meshes = [p.cylinder(column, height - rise * 0.6, (0, rise * 0.6, 0))]
    for angle in turn + 2 * np.pi * np.arange(feet) / feet:
        tip = np.array((radius * np.cos(angle), 0.0, radius * np.sin(angle)))
        low = radius * 0.1
        tip[1] = low
        meshes.append(
            p.tube([(0.0, rise, 0.0), tip], (column, column * 0.6), 6)
        )
        if wheels:
            meshes.append(p.ellipsoid((2 * low,) * 3, tip, sides=8))
    return meshes


def rail_back(d, width, height, thickness, style=None):
    """A vertical back of a seat, upright on y = 0, as a list of meshes."""
    style = style or d.pick(
        "panel", "rounded", "slats", "ladder", "frame", "hoop", "oval"
    )
    t = thickness
    post = max(t, width * 0.05)
    x = width / 2 - post / 2
    if style == "panel":
        gap = height * d.pick(0.0, 0.0, d.between(0.1, 0.5))
        meshes = [
            p.box((width, height - gap, t), (0, gap, 0), (d.between(0.7, 1), 1))
        ]
        if gap:
            meshes.append(
                p.box((post, gap, t), [(-x * 0.6, 0, 0), (x * 0.6, 0, 0)])
            )
        return meshes
    if style in ("rounded", "oval"):
        power = 2.0 if style == "oval" else d.between(3.0, 7.0)
        gap = height * d.between(0.0, 0.35)
        pad = p.slab((width, t, height - gap), (0, 0, 0), power)
        pad = p.moved(p.turned(pad, "x", np.pi / 2), (0, 0, 0))
        pad = p.moved(pad, (0, gap + (height - gap) / 2, t / 2))
        x = x * 0.5
        posts = p.box(
            (post * 0.7, gap + 0.2 * height, t * 0.6),
            [(-x, 0, 0), (x, 0, 0)],
        )
        return [pad, posts]
    if style == "hoop":
        angle = np.linspace(0, np.pi, 13)
        path = np.stack(
            [x * np.cos(angle), height * np.sin(angle) ** 0.6, 0 * angle], -1
        )
        count = d.count(2, 6)
        meshes = [p.tube(path, post * 0.5, 6)]
        at = np.linspace(-0.7, 0.7, count) * x
        top = height * np.sqrt(1 - (at / x) ** 2) ** 0.6
        size = np.stack([0 * at + post * 0.5, top, 0 * at + post * 0.5], -1)
        meshes.append(p.box(size, np.stack([at, 0 * at, 0 * at], -1)))
        return meshes
    posts = p.box((post, height, t), [(-x, 0, 0), (x, 0, 0)])
    crest = height * d.between(0.08, 0.25)
    rail = p.box((width, crest, t), (0, height - crest, 0))
    meshes = [posts, rail]
    if style == "slats":
        count = d.count(2, 7)
        at = np.linspace(-x, x, count + 2)[1:-1]
        at = np.stack([at, 0 * at, 0 * at], -1)
        wide = width * d.between(0.25, 0.6) / count
        meshes.append(p.box((wide, height - crest, t * 0.6), at))
    elif style == "ladder":
        count = d.count(1, 4)
        at = height * (np.arange(count) + 0.3) / (count + 0.5)
        at = np.stack([0 * at, at, 0 * at], -1)
        tall = height * d.between(0.2, 0.5) / (count + 1)
        meshes.append(p.box((2 * x, tall, t * 0.6), at))
    else:
        gap = height * d.between(0.05, 0.4)
        meshes.append(
            p.box((2 * x, height - crest - gap, t * 0.4), (0, gap, 0))
        )
    return meshes
