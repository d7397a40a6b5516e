"""Chair, armchair, bench, sofa and stool: front towards +z, in metres."""

import numpy as np

from keras_pointpeft.data.shapes import primitives as p
from keras_pointpeft.data.shapes.supports import legs
from keras_pointpeft.data.shapes.supports import pedestal
from keras_pointpeft.data.shapes.supports import plate
from keras_pointpeft.data.shapes.supports import rail_back


def _leant(meshes, angle, at):
    return [
        ("back", p.moved(p.turned(mesh, "x", -angle), at)) for mesh in meshes
    ]


def _thin_arms(d, width, depth, y, rise):
    t = d.between(0.02, 0.05)
    x = width / 2
    long = depth * d.between(0.6, 1.0)
    z = (long - depth) / 2
    front = z + long / 2 - t
    if d.chance(0.3):
        path = [
            (x, y, front * 0.7),
            (x, y + rise * 0.8, front),
            (x, y + rise, 0.0),
            (x, y + rise * d.between(0.7, 1.2), z - long / 2),
        ]
        return [p.mirrored(p.tube(p.spline(path, 9), t / 2, 6))]
    rest = p.box((t * d.between(1, 2), t, long), (x, y + rise, z))
    post = p.box((t, rise, t), (x, y, d.between(0.3, 1.0) * front))
    return [p.mirrored(p.merge(rest, post))]


def chair(d):
    """Four legs, a frame or a star base; solid, slatted or hooped backs."""
    width = d.between(0.36, 0.58)
    depth = width * d.between(0.8, 1.15)
    seat = d.between(0.36, 0.56)
    thick = d.between(0.02, 0.1)
    tall = d.between(0.25, 0.75)
    lean = d.between(0.0, 0.3)
    parts = []
    if d.chance(0.22):
        parts += [
            ("leg", m) for m in pedestal(d, seat, width * d.between(0.45, 0.65))
        ]
    else:
        parts += [("leg", m) for m in legs(d, width, seat, depth)]
    parts.append(("seat", plate(d, (width, thick, depth), (0, seat, 0))))
    t = d.between(0.015, 0.07)
    wide = width * d.between(0.75, 1.05)
    at = (0.0, seat + thick * 0.7, -depth / 2 + t)
    if d.chance(0.12):
        parts.append(("back", _shell(d, wide, tall, t, at, lean)))
    else:
        parts += _leant(rail_back(d, wide, tall, t), lean, at)
    if d.chance(0.25):
        rise = min(tall * 0.7, d.between(0.15, 0.28))
        parts += [
            ("arm", m) for m in _thin_arms(d, width, depth, seat + thick, rise)
        ]
    return parts


def _shell(d, width, height, t, at, lean):
    bend = d.between(0.1, 0.5) * width
    s = np.linspace(-1, 1, 9)
    plan = np.stack([s * width / 2, 0 * s, bend * s**2], -1)
    outer = np.concatenate([plan, plan[::-1] - np.array((0.0, 0.0, t))])
    y = np.array([(0, 0.0, 0), (0, height, -height * np.sin(lean))])
    scale = np.array([(1.0, 1, 1), (d.between(0.6, 1.1), 1, 1)])
    sections = outer[None] * scale[:, None] + y[:, None]
    return p.moved(p.loft(sections, "strip"), at)


def _upholstered(d, width, seats):
    depth = d.between(0.65, 1.0)
    foot = d.between(0.03, 0.16)
    base = d.between(0.15, 0.3)
    arm = d.between(0.07, 0.26)
    rise = d.between(0.08, 0.32)
    tall = d.between(0.3, 0.6)
    back = d.between(0.1, 0.26)
    lean = d.between(0.0, 0.25)
    soft = d.between(3.0, 7.0)
    seat = foot + base
    parts = [
        ("leg", m)
        for m in legs(
            d,
            width,
            foot,
            depth,
            d.pick("square", "round", "panels"),
            d.between(0.04, 0.09),
        )
    ]
    parts.append(("seat", p.box((width, base, depth), (0, foot, 0))))
    inner = width - 2 * arm
    cushion = d.between(0.08, 0.2)
    step = inner / seats
    for k in range(seats):
        x = (k + 0.5) * step - inner / 2
        size = (step * 0.98, cushion, depth - back)
        at = (x, seat + cushion / 3, back / 2)
        parts.append(("seat", p.ellipsoid(size, at, soft, sides=12)))
    if d.chance(0.5):
        for k in range(seats):
            x = (k + 0.5) * step - inner / 2
            size = (step * 0.98, tall, back)
            mesh = p.ellipsoid(size, (0, tall / 2, 0), soft, sides=12)
            mesh = p.turned(mesh, "x", -lean)
            at = (x, seat, -depth / 2 + back * 0.6)
            parts.append(("back", p.moved(mesh, at)))
    else:
        size = (width * d.pick(1.0, 1.0, inner / width), tall, back)
        mesh = p.box(size, top=(d.between(0.8, 1.0), d.between(0.5, 1.0)))
        if d.chance(0.4):
            power = d.between(2.5, 5.0)
            mesh = p.ellipsoid(size, (0, tall / 2, 0), power, sides=12)
        parts += _leant([mesh], lean, (0, seat, -depth / 2 + back / 2))
    long = depth * d.between(0.75, 1.0)
    x = (width - arm) / 2
    z = (long - depth) / 2
    kind = d.pick("box", "roll", "cushion")
    if kind == "cushion":
        size = (arm, base + rise, long)
        side = p.ellipsoid(
            size, (x, foot + (base + rise) / 2, z), soft, sides=12
        )
    else:
        side = p.box((arm, base + rise, long), (x, foot, z))
    if kind == "roll":
        roll = p.turned(p.cylinder(arm * 0.65, long), "x", np.pi / 2)
        roll = p.moved(roll, (x, seat + rise, z - long / 2))
        side = p.merge(side, roll)
    parts.append(("arm", p.mirrored(side)))
    return parts


def armchair(d):
    """Upholstered seats for one, or wide wooden frames with cushions."""
    if d.chance(0.65):
        return _upholstered(d, d.between(0.65, 1.15), 1)
    width = d.between(0.55, 0.8)
    depth = d.between(0.5, 0.8)
    seat = d.between(0.28, 0.45)
    thick = d.between(0.08, 0.2)
    tall = d.between(0.3, 0.7)
    lean = d.between(0.1, 0.5)
    style = d.pick("square", "splayed", "frames", "round")
    parts = [("leg", m) for m in legs(d, width, seat, depth, style)]
    size = (width * 0.96, thick, depth)
    at = (0, seat + thick / 2, 0)
    parts.append(("seat", p.ellipsoid(size, at, d.between(3, 8), sides=16)))
    size = (width * d.between(0.8, 1.0), tall, d.between(0.06, 0.2))
    pad = p.ellipsoid(size, (0, tall / 2, 0), d.between(2.5, 8), sides=16)
    parts += _leant([pad], lean, (0, seat + thick / 2, -depth / 2 + 0.05))
    rise = d.between(0.15, 0.3) + thick / 2
    arms = _thin_arms(d, width, depth, seat + thick / 2, rise)
    return parts + [("arm", m) for m in arms]


def sofa(d):
    """Two to four seats, some with a chaise at one end."""
    width = d.between(1.25, 2.6)
    parts = _upholstered(d, width, min(4, max(1, round(width / 0.65))))
    if d.chance(0.2):
        wide, deep = d.between(0.5, 0.8), d.between(0.4, 0.8)
        side = d.pick(-1.0, 1.0)
        size = (wide, d.between(0.2, 0.35), deep)
        at = (side * (width - wide) / 2, d.between(0.05, 0.15), 0.3 + deep / 2)
        parts.append(("seat", p.box(size, at)))
    return parts


def stool(d):
    """A small seat on legs or a pedestal, some with a low back rest."""
    radius = d.between(0.14, 0.24)
    wide = 2 * radius * d.pick(1.0, 1.0, d.between(1.0, 1.5))
    deep = 2 * radius
    height = d.between(0.3, 0.85)
    thick = d.between(0.02, 0.12)
    parts = []
    if d.chance(0.35):
        base = radius * d.between(0.8, 1.4)
        parts += [("leg", m) for m in pedestal(d, height, base)]
    else:
        style = d.pick("square", "splayed", "splayed", "tripod", "panels")
        parts += [("leg", m) for m in legs(d, wide, height, deep, style)]
    if d.chance(0.3):
        ring = radius * d.between(0.6, 1.0)
        y = height * d.between(0.2, 0.5)
        parts.append(("leg", p.torus(ring, 0.012, (0, y, 0))))
    at = (0, height, 0)
    if d.chance(0.25):
        size = (wide, 2 * thick, deep)
        parts.append(("seat", p.ellipsoid(size, at, d.between(2, 6))))
    else:
        shape = d.pick("round", "round", "rounded", "box")
        parts.append(("seat", plate(d, (wide, thick, deep), at, shape)))
    if d.chance(0.18):
        t = d.between(0.015, 0.04)
        back = rail_back(d, wide * 0.8, d.between(0.08, 0.25), t)
        parts += _leant(back, 0.1, (0, height + thick * 0.8, -deep / 2 + t))
    return parts


def bench(d):
    """Long seats: park and dining benches, backless or with a back."""
    width = d.between(0.85, 1.9)
    depth = d.between(0.25, 0.55)
    height = d.between(0.34, 0.52)
    thick = d.between(0.02, 0.1)
    style = d.pick("square", "panels", "frames", "trestle", "splayed")
    t = d.between(0.03, 0.09)
    parts = [("leg", m) for m in legs(d, width, height, depth, style, t)]
    at = (0, height, 0)
    planks = d.pick(1, 1, d.count(2, 5))
    if planks == 1:
        shape = d.pick("box", "box", "rounded")
        parts.append(("seat", plate(d, (width, thick, depth), at, shape)))
    else:
        z = ((np.arange(planks) + 0.5) / planks - 0.5) * depth
        at = np.stack([0 * z, 0 * z + height, z], -1)
        size = (width, thick * 0.6, 0.8 * depth / planks)
        parts.append(("seat", p.box(size, at)))
    if d.chance(0.45):
        tall = d.between(0.25, 0.5)
        style = d.pick("slats", "ladder", "ladder", "frame", "panel")
        back = rail_back(d, width, tall, d.between(0.02, 0.05), style)
        at = (0, height + thick * 0.5, -depth / 2 + 0.03)
        parts += _leant(back, d.between(0.0, 0.35), at)
        if d.chance(0.5):
            rise = d.between(0.12, 0.22)
            arms = _thin_arms(d, width - 0.05, depth, height, rise)
            parts += [("arm", m) for m in arms]
    return parts
