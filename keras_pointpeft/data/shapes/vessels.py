"""Bottle, bucket, mug and vase: mostly surfaces of revolution, in metres."""

import numpy as np

from keras_pointpeft.data.shapes import primitives as p


def _vessel(outer, wall, sides=22, power=2.0):
    """A shell that follows an outer profile up and comes down inside it."""
    inner = outer[::-1].copy()
    inner[:, 0] = np.maximum(inner[:, 0] - wall, wall * 0.2)
    inner[-1, 1] += wall
    profile = np.concatenate([outer, inner])
    return p.lathe(profile, sides=sides, power=power)


def _arc(radius_x, radius_y, start, end, count=11):
    angle = np.linspace(start, end, count)
    x, y = radius_x * np.cos(angle), radius_y * np.sin(angle)
    return np.stack([x, y, 0 * angle], -1)


def _handle(d, radius, height):
    """A mug's or jug's handle on the +x side, around half the height."""
    reach = d.between(0.35, 0.85) * min(radius, height)
    tall = height * d.between(0.2, 0.38)
    thick = d.between(0.05, 0.13) * radius + 0.001
    kind = d.pick("round", "square", "ear")
    if kind == "round":
        path = _arc(reach, tall, -np.pi / 2, np.pi / 2)
    elif kind == "square":
        path = [(0, -tall, 0), (reach * 0.9, -tall, 0), (reach, -tall * 0.8, 0)]
        path += [(reach, tall * 0.8, 0), (reach * 0.9, tall, 0), (0, tall, 0)]
    else:
        path = p.spline(
            [(0, -tall, 0), (reach * 0.5, -tall * 0.4, 0)]
            + [(reach, tall * 0.5, 0), (reach * 0.6, tall, 0)]
            + [(0, tall * 0.7, 0)],
            11,
        )
    mesh = p.tube(path, thick, 8, d.pick(2.0, 5.0), normal=(0, 0, 1))
    at = (radius * 0.93, height * d.between(0.45, 0.58), 0)
    return p.moved(p.scaled(mesh, (1, 1, d.between(1.0, 2.2))), at)


def mug(d):
    """Cups and mugs, straight, tapered or bellied, with one handle."""
    height = d.between(0.06, 0.14)
    radius = d.between(0.032, 0.055)
    foot = d.between(0.55, 1.05)
    belly = d.between(0.9, 1.2)
    outer = p.spline(
        [(radius * foot, 0.0), (radius * (1 + foot) / 2 * belly, height / 2)]
        + [(radius, height)],
        7,
    )
    outer = np.concatenate([[(0.0, 0.0)], outer])
    wall = radius * d.between(0.06, 0.15)
    inner = outer[::-1].copy()
    inner[:, 0] = np.maximum(inner[:, 0] - wall, 0.0)
    inner[-2:, 1] = height * d.between(0.05, 0.15)
    power = d.pick(2.0, 2.0, 2.0, d.between(3.0, 5.0))
    body = p.lathe(np.concatenate([outer, inner]), sides=24, power=power)
    parts = [("body", body), ("handle", _handle(d, radius * 0.98, height))]
    if d.chance(0.1):
        lid = p.cylinder(radius * 1.03, height * 0.08, (0, height, 0), 0.9)
        knob = (radius * 0.5,) * 3
        lid = p.merge(lid, p.ellipsoid(knob, (0, height * 1.1, 0), sides=8))
        parts.append(("lid", lid))
    return parts


def bottle(d):
    """Wine, water, spray and jar-like bottles."""
    radius = d.between(0.03, 0.06)
    height = radius * d.between(3.0, 9.0)
    shoulder = height * d.between(0.4, 0.8)
    neck = radius * d.between(0.22, 0.7)
    start = shoulder + (height - shoulder) * d.between(0.2, 0.7)
    waist = d.pick(1.0, 1.0, d.between(0.7, 1.1))
    body = [
        (radius * 0.9, 0.0),
        (radius, height * 0.03),
        (radius * (1 + waist) / 2, shoulder * 0.3),
        (radius * waist, shoulder * 0.55),
        (radius, shoulder),
    ]
    slope = p.spline(
        [(radius, shoulder)]
        + [((radius + neck) / 2 * d.between(0.85, 1.2), (shoulder + start) / 2)]
        + [(neck, start)],
        6,
    )
    body = np.concatenate([body, slope[1:]])
    power = d.pick(2.0, 2.0, 2.0, d.between(3.5, 7.0))
    squash = (1.0, 1.0, d.pick(1.0, 1.0, d.between(0.5, 0.9)))
    shell = p.scaled(p.lathe(body, sides=24, power=power), squash)
    parts = [("body", shell)]
    lip = neck * d.between(1.0, 1.25)
    rest = height - start
    throat = [(neck, 0), (neck, rest * 0.85), (lip, rest * 0.87), (lip, rest)]
    parts.append(("neck", p.lathe(throat, (0, start, 0), 16)))
    cap = d.pick("none", "screw", "cork", "pump", "trigger")
    at = (0, height, 0)
    if cap == "screw":
        mesh = p.cylinder(lip * 1.15, lip * d.between(0.6, 1.6), at)
        parts.append(("cap", mesh))
    elif cap == "cork":
        parts.append(("cap", p.cylinder(neck * 0.8, lip, at, 1.1)))
    elif cap in ("pump", "trigger"):
        tall = radius * d.between(0.5, 1.2)
        stem = p.cylinder(neck * 0.4, tall, at)
        long = radius * d.between(0.8, 1.4)
        spout = p.box(
            (long, neck * 0.6, neck * 0.7), (long * 0.35, height + tall, 0)
        )
        parts.append(("cap", p.merge(stem, spout)))
        if cap == "trigger":
            lever = p.rod(
                (long * 0.5, height + tall, 0),
                (long * 0.3, height + tall * 0.2, 0),
                neck * 0.15,
            )
            parts.append(("cap", lever))
    return parts


def vase(d):
    """Free profiles; some are amphoras with two ears, some hold flowers."""
    height = d.between(0.15, 0.5)
    radius = height * d.between(0.16, 0.45)
    r = radius * (0.4 + 0.6 * d.rng.random(4))
    r[d.count(1, 2)] = radius
    r[2] *= d.between(0.5, 1.0)
    mouth = r[2] * d.between(0.8, 1.8)
    y = height * np.array((0, d.between(0.2, 0.4), d.between(0.5, 0.85), 1.0))
    profile = np.stack([(r[0], r[1], r[2], min(mouth, radius)), y], -1)
    outer = p.spline(profile, 14)
    outer[:, 0] = np.maximum(outer[:, 0], radius * 0.12)
    if d.chance(0.25):
        outer[:, 0] *= 1 + 0.06 * np.sin(np.arange(14) * np.pi / 2)
    power = d.pick(2.0, 2.0, 2.0, 2.0, d.between(3.0, 8.0))
    wall = radius * d.between(0.05, 0.12)
    parts = [("body", _vessel(outer, wall, 24, power))]
    if d.chance(0.25):
        low, high = outer[6], outer[d.count(10, 12)]
        reach = radius * d.between(0.5, 0.9) + max(low[0], high[0]) * 0.5
        middle = (max(reach, high[0] * 1.2), (0.4 * low[1] + 0.6 * high[1]), 0)
        path = p.spline([(*low, 0), middle, (*high, 0)], 9)
        ear = p.tube(path, radius * d.between(0.05, 0.1), 8, normal=(0, 0, 1))
        parts.append(("handle", p.mirrored(ear)))
    if d.chance(0.35):
        parts += _flowers(d, height, outer[-1, 0] * 0.6)
    return parts


def _flowers(d, height, mouth):
    parts = []
    for _ in range(d.count(2, 6)):
        tall = height * d.between(0.3, 0.9)
        angle = d.between(0, 2 * np.pi)
        way = np.array((np.cos(angle), 0.0, np.sin(angle)))
        start = way * mouth * 0.4 + (0, height * 0.5, 0)
        tip = way * (mouth + tall * d.between(0.1, 0.6))
        tip = tip + (0, height + tall, 0)
        parts.append(("flower", p.rod(start, tip, height * 0.012, 5)))
        size = height * np.array([d.between(0.08, 0.25) for _ in range(3)])
        parts.append(("flower", p.ellipsoid(size, tip, sides=8)))
    return parts


def bucket(d):
    """Pails, tubs and bins with a bail, two grips or a plain rim."""
    height = d.between(0.18, 0.4)
    mouth = height * d.between(0.35, 0.68)
    foot = mouth * d.between(0.6, 0.98)
    power = d.pick(2.0, 2.0, 2.0, d.between(3.0, 8.0))
    outer = np.array([(0.0, 0.0), (foot, 0.0), (mouth, height)])
    wall = mouth * d.between(0.02, 0.07)
    inner = np.array([(mouth - wall, height), (foot - wall, wall), (0, wall)])
    profile = np.concatenate([outer, inner])
    parts = [("body", p.lathe(profile, sides=24, power=power))]
    if d.chance(0.6):
        thick = mouth * d.between(0.02, 0.06)
        rim = (mouth + thick) * np.array([1.0, 0.0]) + thick * p.circle(6)
        mesh = p.lathe(rim, (0, height, 0), 24, power, ring=True)
        parts.append(("rim", mesh))
    kind = d.pick("bail", "bail", "bail", "grips", "none")
    if kind == "bail":
        rise = mouth * d.between(0.8, 1.25)
        bail = p.tube(_arc(mouth, rise, 0, np.pi, 13), mouth * 0.03, 6)
        tilt = d.pick(0.0, d.between(-1.0, 1.0), d.pick(-1, 1) * 1.75)
        if d.chance(0.4):
            grip = p.rod(
                (-mouth * 0.25, rise, 0), (mouth * 0.25, rise, 0), mouth * 0.09
            )
            bail = p.merge(bail, grip)
        bail = p.turned(bail, "x", tilt)
        parts.append(("handle", p.moved(bail, (0, height * 0.95, 0))))
    elif kind == "grips":
        long = mouth * d.between(0.3, 0.6)
        grip = _arc(mouth * 0.3, long, -np.pi / 2, np.pi / 2)[:, (0, 2, 1)]
        grip = p.tube(grip, mouth * 0.05, 6)
        grip = p.moved(grip, (mouth, height * d.between(0.8, 0.95), 0))
        parts.append(("handle", p.mirrored(grip)))
    if d.chance(0.12):
        lid = p.cylinder(mouth * 1.05, height * 0.06, (0, height, 0), 0.95, 24)
        parts.append(("rim", lid))
    return parts
