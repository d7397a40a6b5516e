"""Bed, bookshelf, cabinet, desk and table: front towards +z, in metres."""

import numpy as np

from keras_pointpeft.data.shapes import primitives as p
from keras_pointpeft.data.shapes.supports import corners
from keras_pointpeft.data.shapes.supports import legs
from keras_pointpeft.data.shapes.supports import pedestal
from keras_pointpeft.data.shapes.supports import plate
from keras_pointpeft.data.shapes.supports import rail_back


def table(d):
    """Dining, coffee and side tables on legs, panels or a pedestal."""
    width = d.between(0.45, 1.9)
    depth = min(width, d.between(0.4, 1.0))
    height = d.between(0.32, 0.8)
    thick = d.between(0.02, 0.09)
    shape = d.pick("box", "box", "rounded", "round")
    parts = []
    if shape == "round" and d.chance(0.6):
        depth = width = min(width, 1.3)
    if width < 1.8 * depth and d.chance(0.35):
        base = min(width, depth) * d.between(0.22, 0.42)
        parts += [("leg", m) for m in pedestal(d, height, base)]
    else:
        style = d.pick(
            "square",
            "square",
            "splayed",
            "round",
            "panels",
            "frames",
            "trestle",
        )
        inner = 0.75 if shape == "round" else 1.0
        t = d.between(0.03, 0.1)
        wide, deep = width * inner, depth * inner
        parts += [("leg", m) for m in legs(d, wide, height, deep, style, t)]
        if d.chance(0.3):
            size = (wide * 0.9, 0.06, deep * 0.9)
            parts.append(("top", p.box(size, (0, height - 0.06, 0))))
        if d.chance(0.2):
            size = (wide * 0.9, 0.02, deep * 0.9)
            at = (0, height * d.between(0.2, 0.5), 0)
            parts.append(("shelf", p.box(size, at)))
    parts.append(
        ("top", plate(d, (width, thick, depth), (0, height, 0), shape))
    )
    return parts


def _drawers(d, width, height, depth, at, count, part="drawer"):
    """Fronts with handles, one above another, on the +z side of a block."""
    x, y, z = at
    tall = height / count
    rows = y + tall * (np.arange(count) + 0.06)
    front = z + depth / 2
    at = np.stack([0 * rows + x, rows, 0 * rows + front], -1)
    parts = [(part, p.box((width * 0.94, tall * 0.88, 0.02), at))]
    at = at + np.array((0.0, tall * 0.42, 0.03))
    wide = width * d.between(0.1, 0.5)
    parts.append(("handle", p.box((wide, 0.02, 0.04), at)))
    return parts


def desk(d):
    """A top on drawer blocks or side panels, some with a shelf above."""
    width = d.between(1.0, 1.8)
    depth = d.between(0.45, 0.85)
    height = d.between(0.66, 0.8)
    thick = d.between(0.02, 0.06)
    wide = width * d.between(0.2, 0.33)
    parts = [("top", p.box((width, thick, depth), (0, height, 0)))]
    kind = d.pick("both", "left", "right", "hanging", "none")
    deep = depth * 0.9
    for side, name in ((-1, "left"), (1, "right")):
        x = side * (width - wide) / 2 * 0.96
        if kind in ("both", name):
            foot = d.pick(0.0, d.between(0.03, 0.1))
            tall = height - foot
            parts.append(("drawer", p.box((wide, tall, deep), (x, foot, 0))))
            parts += _drawers(d, wide, tall, deep, (x, foot, 0), d.count(2, 4))
        elif kind == "hanging" and side == 1:
            tall = height * d.between(0.2, 0.4)
            at = (x * 0.9, height - tall, 0)
            parts.append(("drawer", p.box((wide, tall, deep), at)))
            parts += _drawers(d, wide, tall, deep, at, d.count(1, 2))
    if kind in ("hanging", "none"):
        style = d.pick("panels", "frames", "square", "panels")
        t = d.between(0.03, 0.06)
        parts += [("leg", m) for m in legs(d, width, height, depth, style, t)]
    elif kind != "both":
        x = (width / 2 - 0.04) * (1 if kind == "left" else -1)
        if d.chance(0.5):
            parts.append(("leg", p.box((0.03, height, deep), (x, 0, 0))))
        else:
            z = depth / 2 - 0.05
            at = [(x, 0, -z), (x, 0, z)]
            parts.append(("leg", p.box((0.05, height, 0.05), at)))
    if kind == "none" or d.chance(0.5):
        tall = height * d.between(0.3, 0.8)
        at = (0, height - tall, -depth / 2 + 0.06)
        parts.append(("panel", p.box((width * 0.95, tall, 0.02), at)))
    if d.chance(0.35):
        tall = d.between(0.25, 0.6)
        deep = d.between(0.18, 0.3)
        y = height + thick
        z = (deep - depth) / 2
        at = [(-width / 2 + 0.02, y, z), (width / 2 - 0.02, y, z)]
        parts.append(("shelf", p.box((0.03, tall, deep), at)))
        rows = y + tall * np.linspace(0, 1, d.count(2, 3))[1:] - 0.03
        at = np.stack([0 * rows, rows, 0 * rows + z], -1)
        parts.append(("shelf", p.box((width, 0.03, deep), at)))
    return parts


def bed(d):
    """Single and double beds; some have a canopy, some are bunks."""
    width = d.between(0.8, 2.0)
    length = d.between(1.8, 2.2)
    foot = d.pick(0.0, d.between(0.05, 0.3))
    frame = d.between(0.08, 0.28)
    thick = d.between(0.12, 0.32)
    soft = d.between(5.0, 12.0)
    z = -length / 2
    parts = []
    bunk = width < 1.2 and d.chance(0.3)
    for y in [0.0, d.between(0.8, 1.1)][: 2 if bunk else 1]:
        y = y + foot
        parts.append(("frame", p.box((width, frame, length), (0, y, 0))))
        at = (0, y + frame + thick * 0.4, 0.02)
        size = (width * 0.97, thick, length * 0.97)
        parts.append(("mattress", p.ellipsoid(size, at, soft, sides=20)))
        count = 1 if width < 1.25 else 2
        for k in range(count):
            x = ((k + 0.5) / count - 0.5) * width
            size = (width / count * 0.8, d.between(0.1, 0.18), 0.4)
            at = (x, y + frame + thick * 0.95, z + d.between(0.25, 0.35))
            parts.append(
                ("pillow", p.ellipsoid(size, at, d.between(2, 4), sides=12))
            )
    top = foot + frame + thick
    if bunk or d.chance(0.12):
        tall = d.between(1.6, 2.2)
        posts = corners(width / 2, length / 2)
        parts.append(("frame", p.box((0.06, tall, 0.06), posts)))
        if not bunk:
            at = [(0, tall, -length / 2), (0, tall, length / 2)]
            parts.append(("frame", p.box((width, 0.06, 0.06), at)))
            at = [(-width / 2, tall, 0), (width / 2, tall, 0)]
            parts.append(("frame", p.box((0.06, 0.06, length), at)))
    elif foot:
        t = d.between(0.05, 0.1)
        style = d.pick("square", "round")
        parts += [("leg", m) for m in legs(d, width, foot, length, style, t)]
    if d.chance(0.85):
        tall = top + d.between(0.1, 0.7)
        style = d.pick("panel", "rounded", "slats", "frame", "ladder")
        t = d.between(0.03, 0.12)
        head = rail_back(d, width * d.between(1.0, 1.1), tall, t, style)
        parts += [("headboard", p.moved(m, (0, 0, z - t / 2))) for m in head]
    if d.chance(0.35):
        tall = top + d.between(-0.1, 0.3)
        t = d.between(0.03, 0.08)
        end = rail_back(d, width, tall, t, d.pick("panel", "slats", "ladder"))
        parts += [("footboard", p.moved(m, (0, 0, -z))) for m in end]
    return parts


def cabinet(d):
    """Wardrobes, sideboards, chests of drawers and lockers."""
    width = d.between(0.4, 1.8)
    height = d.between(0.5, 2.0)
    depth = d.between(0.3, 0.65)
    foot = d.pick(0.0, 0.0, d.between(0.05, 0.25))
    parts = [("body", p.box((width, height, depth), (0, foot, 0)))]
    if foot:
        style = d.pick("square", "splayed", "panels", "frames")
        parts += [("leg", m) for m in legs(d, width, foot, depth, style, 0.05)]
    columns = max(1, round(width / d.between(0.35, 0.9)))
    rows = max(1, round(height / d.between(0.25, 1.2)))
    wide = width / columns
    kind = d.pick("doors", "drawers", "mixed")
    for k in range(columns):
        at = ((k + 0.5) * wide - width / 2, foot, 0)
        drawers = kind == "drawers" or (kind == "mixed" and d.chance(0.5))
        if drawers:
            parts += _drawers(d, wide, height, depth, at, rows, "door")
            continue
        z = depth / 2
        size = np.array((wide * 0.94, height * 0.94, 0.02))
        place = np.array((at[0], foot + height * 0.03, z))
        bar = np.array((0.02, height * d.between(0.08, 0.3), 0.04))
        if d.chance(0.15):
            swing = p.moved(p.box(size), (size[0] / 2, 0, 0))
            swing = p.turned(swing, "y", -d.between(0.4, 1.6))
            place[0] -= size[0] / 2
            parts.append(("door", p.moved(swing, place)))
            continue
        parts.append(("door", p.box(size, place)))
        x = place[0] + wide * 0.38 * (-1) ** k
        at = (x, foot + height * d.between(0.4, 0.6), z + 0.02)
        parts.append(("handle", p.box(bar, at)))
    if d.chance(0.4):
        size = (width * 1.06, 0.04, depth * 1.1)
        parts.append(("body", p.box(size, (0, foot + height, 0))))
    return parts


def bookshelf(d):
    """Open shelves with or without a back, partly filled."""
    width = d.between(0.4, 1.7)
    height = d.between(0.6, 2.1)
    depth = d.between(0.22, 0.42)
    t = d.between(0.015, 0.045)
    columns = max(1, round(width / d.between(0.4, 0.9)))
    rows = max(2, round(height / d.between(0.28, 0.5)))
    foot = d.pick(0.0, d.between(0.03, 0.15))
    x = np.linspace(-0.5, 0.5, columns + 1) * (width - t)
    y = foot + np.linspace(0, 1, rows + 1) * (height - foot - t)
    if d.chance(0.75):
        at = np.stack([x, 0 * x, 0 * x], -1)
        parts = [("frame", p.box((t, height, depth), at))]
    else:
        posts = corners(width / 2 - t / 2, depth / 2 - t / 2)
        parts = [("frame", p.box((t, height, t), posts))]
    at = np.stack([0 * y, y, 0 * y], -1)
    parts.append(("shelf", p.box((width, t, depth), at)))
    if d.chance(0.6):
        at = (0, foot, -depth / 2)
        parts.append(("frame", p.box((width, height - foot, t / 2), at)))
    fill = d.pick(0.0, d.between(0.1, 0.5), d.between(0.4, 1.0))
    cell, gap = width / columns, (height - foot) / rows - t
    books = []
    for row in range(rows):
        for column in range(columns):
            if not d.chance(fill):
                continue
            left = x[column] + t + d.between(0.0, 0.4) * cell
            room = x[column] + cell - left - t
            count = d.count(1, 7)
            wide = room / 7
            if d.chance(0.2):
                wide, count = room * d.between(0.4, 0.9), 1
            tall = gap * (0.5 + 0.4 * d.rng.random(count))
            deep = depth * (0.5 + 0.4 * d.rng.random(count))
            size = np.stack([0 * tall + wide * 0.9, tall, deep], -1)
            place = left + wide * (np.arange(count) + 0.5)
            books.append(
                (size, np.stack([place, 0 * place + y[row] + t, 0 * place], -1))
            )
    if books:
        size, at = (np.concatenate(rows) for rows in zip(*books))
        parts.append(("content", p.box(size, at)))
    return parts
