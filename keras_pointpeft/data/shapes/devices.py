"""Lamp and monitor: front towards +z, in metres."""

import numpy as np

from keras_pointpeft.data.shapes import primitives as p
from keras_pointpeft.data.shapes.supports import pedestal


def _shade(d, radius, height, at):
    """An open shade: frustum, bell, dome or globe; `at` is its lower rim."""
    kind = d.pick("frustum", "frustum", "drum", "dome", "globe", "box")
    if kind == "globe":
        size = (2 * radius, max(height, radius), 2 * radius)
        center = (at[0], at[1] + size[1] / 2, at[2])
        return p.ellipsoid(size, center)
    if kind == "dome":
        angle = np.linspace(0, np.pi / 2, 6)
        outer = np.stack([radius * np.cos(angle), height * np.sin(angle)], -1)
    else:
        top = 1.0 if kind == "drum" else d.between(0.25, 0.85)
        outer = np.array([(radius, 0.0), (radius * top, height)])
        if d.chance(0.3):
            waist = (radius * (0.4 + 0.5 * top), height * d.between(0.3, 0.6))
            outer = p.spline([outer[0], waist, outer[1]], 7)
    inner = outer[::-1] * np.array((0.94, 0.98))
    power = d.between(3.0, 9.0) if kind == "box" else 2.0
    profile = np.concatenate([outer, inner])
    return p.lathe(profile, at, 20, power, ring=True)


def lamp(d):
    """Table, floor, desk and pendant lamps."""
    kind = d.pick("table", "table", "floor", "floor", "arm", "pendant")
    if kind == "arm":
        return _arm_lamp(d)
    radius = d.between(0.1, 0.28)
    tall = radius * d.between(0.7, 1.8)
    if kind == "pendant":
        cord = d.between(0.2, 0.8)
        parts = [("shade", _shade(d, radius, tall, (0, 0, 0)))]
        rod = p.cylinder(0.01, cord + tall * 0.3, (0, tall * 0.7, 0), sides=6)
        parts.append(("pole", rod))
        rose = p.cylinder(d.between(0.04, 0.1), 0.03, (0, tall + cord, 0))
        return parts + [("base", rose)]
    if kind == "floor":
        height = d.between(0.9, 1.5)
        thick = d.between(0.01, 0.025)
        foot = d.between(0.1, 0.2)
        if d.chance(0.3):
            parts = [
                ("base", p.rod((0.3 * x, 0, 0.3 * z), (0, height, 0), thick))
                for x, z in ((0, 1), (0.87, -0.5), (-0.87, -0.5))
            ]
            pole = p.cylinder(thick, 0.1, (0, height - 0.05, 0))
        else:
            parts = [("base", p.cylinder(foot, 0.03, top=0.9))]
            pole = p.cylinder(thick, height, sides=8)
        at = (0, height - d.between(0.0, 0.3) * tall, 0)
        return parts + [("pole", pole), ("shade", _shade(d, radius, tall, at))]
    height = d.between(0.15, 0.45)
    wide = d.between(0.06, 0.16)
    if d.chance(0.5):
        r = wide * (0.25 + 0.75 * d.rng.random(4))
        r[d.count(0, 1)] = wide
        y = height * np.array((0.0, 0.3, 0.65, 1.0))
        base = [p.lathe(p.spline(np.stack([r, y], -1), 10), sides=18)]
    elif d.chance(0.3):
        base = [p.box((wide * 2, height, wide * 2), top=(0.7, 0.7))]
    else:
        base = pedestal(d, height, wide, d.pick("disc", "cone"))
    parts = [("base", mesh) for mesh in base]
    gap = d.between(0.02, 0.1)
    pole = p.cylinder(0.012, gap + tall * 0.6, (0, height, 0), sides=8)
    parts.append(("pole", pole))
    at = (0, height + gap, 0)
    return parts + [("shade", _shade(d, radius, tall, at))]


def _arm_lamp(d):
    foot = d.between(0.06, 0.14)
    thick = d.between(0.008, 0.02)
    lower, upper = d.between(0.2, 0.5), d.between(0.15, 0.45)
    first, second = d.between(-0.5, 0.3), d.between(0.4, 1.7)
    knee = lower * np.array((np.sin(first), np.cos(first), 0.0))
    head = knee + upper * np.array((np.sin(second), np.cos(second), 0.0))
    poles = [
        p.rod((0, 0, 0), knee, thick, 6),
        p.rod(knee, head, thick, 6),
        p.ellipsoid((4 * thick,) * 3, knee, sides=8),
    ]
    radius = d.between(0.05, 0.12)
    shade = _shade(d, radius, radius * d.between(0.8, 1.8), (0, -radius, 0))
    shade = p.moved(p.turned(shade, "z", d.between(-0.2, 1.0)), head)
    base = p.cylinder(foot, d.between(0.015, 0.04))
    return [("base", base), ("shade", shade)] + [("pole", m) for m in poles]


def monitor(d):
    """Screens and television sets on a stand or two feet."""
    height = d.between(0.25, 0.6)
    width = height * d.between(1.15, 2.4)
    if d.chance(0.06):
        width, height = height, width
    thick = d.between(0.015, 0.08)
    rise = d.between(0.03, 0.25)
    frame = d.between(0.01, 0.035)
    bend = d.pick(0.0, 0.0, d.between(0.03, 0.12)) * width
    x = np.linspace(-1, 1, 7)
    z = bend * x**2
    front = np.stack([x * width / 2, 0 * x, z], -1)
    outline = np.concatenate([front, front[::-1] - (0, 0, thick)])
    panel = outline[None] + np.array([(0, 0, 0), (0, height, 0)])[:, None]
    inner = panel * np.array((1 - 2 * frame / width, 1, 1))
    inner[0, :, 1] += frame
    inner[1, :, 1] -= frame
    inner = inner * np.array((1, 1, 0.3)) + np.array((0, 0, 0.012 + bend * 0.7))
    screen = [("frame", p.loft(panel, "strip"))]
    screen.append(("screen", p.loft(inner, "strip")))
    if d.chance(0.35):
        size = (width * d.between(0.3, 0.7), height * d.between(0.3, 0.7))
        deep = d.pick(0.03, d.between(0.05, 0.3))
        hump = p.box(
            (*size, deep), (0, height * 0.2, -deep / 2 - thick), (0.8, 0.7)
        )
        screen.append(("frame", hump))
    tilt = d.between(-0.15, 0.1)
    parts = [
        (part, p.moved(p.turned(mesh, "x", tilt), (0, rise, 0)))
        for part, mesh in screen
    ]
    back = -thick - 0.01
    kind = d.pick("plate", "plate", "disc", "feet", "feet", "wings")
    if kind == "feet":
        at = width * d.between(0.2, 0.45)
        deep = d.between(0.12, 0.3)
        foot = p.rod((at, 0.01, deep / 2), (at, rise + 0.03, back / 2), 0.01)
        rear = p.rod((at, 0.01, -deep / 2), (at, rise + 0.03, back / 2), 0.01)
        return parts + [("stand", p.mirrored(p.merge(foot, rear)))]
    neck = d.between(0.03, 0.1)
    up = rise + height * d.between(0.2, 0.5)
    parts.append(("stand", p.box((neck, up, 0.02), (0, 0, back - 0.02))))
    wide = width * d.between(0.25, 0.55)
    if kind == "wings":
        wing = p.rod(
            (0, 0.012, back), (wide, 0.012, d.between(0.1, 0.2)), 0.012
        )
        return parts + [("stand", p.mirrored(wing))]
    size = (wide, d.between(0.01, 0.03), d.between(0.14, 0.25))
    power = 2.0 if kind == "disc" else 9.0
    return parts + [("stand", p.slab(size, (0, 0, 0), power))]
