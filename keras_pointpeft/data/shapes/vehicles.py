"""Airplane, bus, car and truck: nose towards +z, in metres."""

import numpy as np

from keras_pointpeft.data.shapes import primitives as p


def _wheels(radius, width, track, places):
    """Wheels on both sides at these z, standing on the floor."""
    disc = p.cylinder(radius, width, (0, -width / 2, 0), sides=14)
    disc = p.turned(disc, "z", np.pi / 2)
    return p.mirrored(
        p.merge(*[p.moved(disc, (track / 2, radius, z)) for z in places])
    )


def _hull(stations, power=5.0, sides=16):
    """A body lofted along z over (z, width, bottom, top) stations."""
    z, width, bottom, top = np.asarray(stations, dtype="float64").T[..., None]
    plan = p.circle(sides, power)
    x = plan[:, 0] * width / 2
    y = (top + bottom) / 2 + plan[:, 1] * (top - bottom) / 2
    return p.loft(np.stack([x, y, np.broadcast_to(z, x.shape)], -1))


def car(d):
    """Saloons, hatchbacks, estates, off-roaders, coupes and open cars."""
    length = d.between(3.4, 5.2)
    width = d.between(1.6, 2.0)
    wheel = d.between(0.28, 0.42)
    low = wheel * d.between(0.5, 0.9)
    belt = low + d.between(0.45, 0.75)
    roof = belt + d.between(0.35, 0.75)
    front, rear = length / 2, -length / 2
    nose = d.between(0.55, 0.95)
    soft = d.between(3.0, 8.0)
    hood = low + (belt - low) * nose
    tail = low + (belt - low) * d.between(0.7, 1.0)
    body = _hull(
        [
            (rear, width * 0.85, low + 0.1, tail * 0.93),
            (rear * 0.9, width * 0.97, low, tail),
            (rear * 0.45, width, low, belt),
            (front * 0.3, width, low, belt),
            (front * 0.85, width * 0.95, low, hood),
            (front, width * d.between(0.6, 0.9), low + 0.1, hood * 0.85),
        ],
        soft,
    )
    parts = [("body", body)]
    kind = d.pick("saloon", "saloon", "hatch", "estate", "coupe", "open")
    glass = front * d.between(0.1, 0.45)
    start = rear * d.between(0.35, 0.65)
    back = start * 0.6
    if kind in ("hatch", "estate"):
        start = rear * d.between(0.85, 0.98)
        back = start * (0.92 if kind == "estate" else d.between(0.6, 0.8))
    elif kind == "coupe":
        start, back = rear * 0.8, rear * 0.15
    if kind == "open":
        screen = p.box(
            (width * 0.85, (roof - belt) * 0.6, 0.05),
            (0, belt * 0.97, glass),
            lean=(0.0, -0.25),
        )
        seats = p.ellipsoid((0.5, 0.7, 0.25), (0.38, belt, -0.1), 4.0, sides=8)
        parts.append(("cabin", p.merge(screen, p.mirrored(seats))))
    else:
        taper = d.between(0.72, 0.92)
        y = belt - 0.1
        crown = glass * d.between(0.1, 0.6)
        base = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * 0.5
        lower = np.stack(
            [base[:, 0] * width * 0.95, 0 * base[:, 0] + y]
            + [np.where(base[:, 1] > 0, glass, start)],
            -1,
        )
        upper = np.stack(
            [base[:, 0] * width * taper, 0 * base[:, 0] + roof]
            + [np.where(base[:, 1] > 0, crown, back)],
            -1,
        )
        middle = (lower + upper) / 2 * np.array((1.03, 1.0, 1.0))
        parts.append(("cabin", p.loft([lower, middle, upper])))
    axle = length * d.between(0.28, 0.34)
    wide = d.between(0.18, 0.28)
    wheels = _wheels(wheel, wide, width - wide * 0.6, (axle, -axle))
    parts.append(("wheel", wheels))
    if d.chance(0.7):
        size = (0.2, 0.14, 0.1)
        mirror = p.box(size, (width / 2 + 0.08, belt, glass * 0.9))
        parts.append(("mirror", p.mirrored(mirror)))
    if d.chance(0.2):
        at = (0, tail + 0.05, rear * 0.93)
        wing = p.box((width * 0.8, 0.05, 0.25), (0, at[1] + 0.15, at[2]))
        posts = p.box((0.05, 0.2, 0.1), [(-0.5, *at[1:]), (0.5, *at[1:])])
        parts.append(("body", p.merge(wing, posts)))
    return parts


def bus(d):
    """City, tour, school and double-decker buses and vans with windows."""
    length = d.between(5.0, 12.0)
    width = d.between(2.0, 2.6)
    low = d.between(0.25, 0.5)
    roof = low + d.between(1.9, 2.9)
    decks = 1
    if d.chance(0.15):
        roof, decks = low + d.between(3.4, 4.0), 2
    front, rear = length / 2, -length / 2
    snout = d.pick(0.0, 0.0, 0.0, d.between(0.6, 1.3))
    stations = [
        (rear, width * 0.95, low + 0.1, roof * 0.97),
        (rear + 0.2, width, low, roof),
        (front - snout - 0.3, width, low, roof),
        (front - snout, width * 0.96, low + 0.05, roof * d.between(0.85, 1)),
    ]
    parts = [("body", _hull(stations, d.between(5.0, 14.0)))]
    if snout:
        size = (width * 0.85, d.between(0.8, 1.2), snout)
        at = (0, low, front - snout / 2)
        parts.append(("body", p.box(size, at, (0.9, 0.9))))
    count = max(3, round(length / d.between(0.9, 2.0)))
    z = (np.arange(count) + 0.5) / count * (length - snout) * 0.9
    z = z + rear + 0.05 * length
    tall = min((roof - low) / decks * 0.4, 0.95)
    wide = length / count * d.between(0.6, 0.85)
    for deck in range(decks):
        y = low + (roof - low) * ((deck + 0.5) / decks + 0.02 * decks)
        at = np.stack([0 * z + width / 2, 0 * z + y, z], -1)
        panes = p.box((0.06, tall, wide), at)
        parts.append(("window", p.mirrored(panes)))
    radius = d.between(0.38, 0.55)
    places = [length * d.between(0.25, 0.4), -length * d.between(0.22, 0.35)]
    if length > 10 and d.chance(0.5):
        places.append(places[1] - 2.2 * radius)
    parts.append(("wheel", _wheels(radius, 0.3, width - 0.2, places)))
    if d.chance(0.6):
        at = (width / 2 + 0.15, roof * 0.6, front - snout)
        parts.append(("mirror", p.mirrored(p.box((0.2, 0.4, 0.1), at))))
    if d.chance(0.35):
        size = (width * 0.6, 0.25, length * d.between(0.15, 0.5))
        at = (0, roof - 0.02, length * d.between(-0.2, 0.2))
        parts.append(("body", p.box(size, at, (0.9, 0.95))))
    return parts


def truck(d):
    """Box, flatbed, tank, dump and pickup trucks."""
    width = d.between(1.8, 2.5)
    wheel = d.between(0.38, 0.55)
    low = wheel * d.between(1.0, 1.5)
    kind = d.pick("box", "box", "flatbed", "tank", "dump", "pickup")
    cab = d.between(1.4, 2.2)
    load = d.between(2.4, 7.0) if kind != "pickup" else d.between(1.5, 2.4)
    gap = d.between(0.05, 0.4)
    length = cab + gap + load
    front, rear = length / 2, -length / 2
    tall = d.between(1.5, 2.3)
    nose = d.pick(0.0, 0.0, d.between(0.7, 1.3))
    if kind == "pickup":
        nose, tall, gap = d.between(0.9, 1.3), d.between(1.1, 1.4), 0.0
    middle = front - cab / 2
    cabin = p.box(
        (width * 0.95, tall, cab),
        (0, low * 0.8, middle),
        (d.between(0.85, 1.0), d.between(0.7, 1.0)),
        (0.0, -d.between(0.0, 0.15) * cab),
    )
    parts = [("cab", cabin)]
    if nose:
        size = (width * d.between(0.75, 0.95), tall * d.between(0.4, 0.6), nose)
        hood = p.box(size, (0, low * 0.8, front + nose / 2), (0.92, 0.95))
        parts.append(("cab", hood))
    z = rear + load / 2
    if kind == "box":
        high = d.between(1.6, 2.8)
        parts.append(("cargo", p.box((width, high, load), (0, low, z))))
    elif kind == "tank":
        radius = d.between(0.75, 1.1)
        tank = p.turned(
            p.slab((2 * radius, load, 1.7 * radius)), "x", np.pi / 2
        )
        parts.append(("cargo", p.moved(tank, (0, low + radius, rear))))
    elif kind == "dump":
        parts.append(("cargo", _tray(d, width, load, d.between(0.7, 1.3), 1.3)))
        tray = p.turned(parts[-1][1], "x", -d.pick(0, 0, d.between(0.1, 0.6)))
        parts[-1] = ("cargo", p.moved(tray, (0, low, z)))
    else:
        side = d.between(0.35 if kind == "pickup" else 0.05, 0.6)
        tray = _tray(d, width, load, side, 1.0)
        parts.append(("cargo", p.moved(tray, (0, low * 0.95, z))))
        if d.chance(0.4):
            size = (
                width * 0.6,
                d.between(0.4, 1.2),
                load * d.between(0.3, 0.7),
            )
            parts.append(("cargo", p.box(size, (0, low + 0.1, z))))
    beam = p.box((width * 0.5, low * 0.4, length), (0, low * 0.6, 0))
    parts.append(("frame", beam))
    places = [front - cab * d.between(0.3, 0.5) + nose * 0.6]
    places.append(rear + load * d.between(0.15, 0.3))
    if load > 4:
        places.append(places[1] + 2.3 * wheel)
    if load > 5.5 and d.chance(0.5):
        places.append(places[2] + 2.3 * wheel)
    parts.append(("wheel", _wheels(wheel, 0.3, width - 0.2, places)))
    return parts


def _tray(d, width, length, side, flare):
    t = 0.08
    floor = p.box((width, t, length))
    ends = [(0, 0, -(length - t) / 2), (0, 0, (length - t) / 2)]
    across = p.box((width, side, t), ends, (flare, 1))
    wall = p.box(
        (t, side, length),
        ((width - t) / 2, 0, 0),
        lean=((flare - 1) * width / 2, 0),
    )
    return p.merge(floor, across, p.mirrored(wall))


def airplane(d):
    """Airliners, propeller planes, jets, biplanes and gliders."""
    kind = d.pick("liner", "liner", "prop", "jet", "biplane", "glider")
    length = d.between(0.8, 1.2)
    radius = length * d.between(0.045, 0.1)
    span = length * d.between(0.7, 1.3)
    sweep, chord = d.between(0.25, 0.6), length * d.between(0.14, 0.26)
    if kind in ("prop", "biplane"):
        sweep, radius = d.between(-0.05, 0.15), length * d.between(0.07, 0.13)
    elif kind == "jet":
        sweep, chord = d.between(0.5, 1.1), length * d.between(0.3, 0.45)
        span = length * d.between(0.5, 0.8)
    elif kind == "glider":
        sweep, chord = d.between(-0.05, 0.1), length * d.between(0.08, 0.13)
        span, radius = length * d.between(1.6, 2.4), length * 0.05
    z = length * np.array((0.5, 0.46, 0.38, 0.25, -0.15, -0.35, -0.5))
    r = radius * np.array((0.12, 0.55, 0.85, 1.0, 1.0, 0.65, 0.15))
    lift = radius * np.array((-0.2, -0.1, 0.0, 0.0, 0.0, 0.25, 0.6))
    hull = np.stack([z, 2 * r * d.between(0.9, 1.1), lift - r, lift + r], -1)
    parts = [("fuselage", _hull(hull, 2.0))]
    if d.chance(0.6):
        size = radius * np.array((1.1, 1.2, 3.0))
        at = (0, radius * 0.8, length * 0.28)
        parts.append(("fuselage", p.ellipsoid(size, at, sides=10)))
    place = length * d.between(-0.05, 0.15)
    height = radius * d.pick(-0.7, 0.0, 0.8)
    rise = d.between(-0.03, 0.12)
    shape = (span, chord, d.between(0.25, 0.8), sweep, rise)
    parts.append(("wing", _wing(*shape, (0, height, place))))
    if kind == "biplane":
        upper = height + 2.2 * radius
        parts.append(("wing", _wing(*shape, (0, upper, place))))
        strut = p.box((0.01, 2.2 * radius, 0.02), (span * 0.3, height, place))
        parts.append(("wing", p.mirrored(strut)))
    tail = -length * 0.42
    small = span * d.between(0.25, 0.42) if kind != "glider" else span * 0.18
    high = d.between(0.12, 0.22) * length
    up = d.pick(radius * 0.3, radius * 0.3, high * 0.95)
    size = (small, chord * 0.6, 0.6, max(sweep, 0.1), 0.0)
    parts.append(("tail", _wing(*size, (0, up, tail))))
    fin = p.box(
        (0.012, high, chord * 0.7),
        (0, radius * 0.3, tail),
        (0.6, d.between(0.4, 0.8)),
        (0, -high * d.between(0.2, 0.7)),
    )
    if kind == "jet" and d.chance(0.5):
        fin = p.mirrored(p.moved(fin, (radius, 0, 0)))
    parts.append(("tail", fin))
    return parts + _engines(d, kind, length, radius, span, sweep, height, place)


def _wing(span, chord, taper, sweep, rise, at):
    foil = np.array([(0.5, 0), (0.2, 0.5), (-0.5, 0), (0.2, -0.4)])
    foil = foil * np.array((1.0, 0.13))
    sections = []
    for side in (-1.0, 0.0, 1.0):
        scale = chord * (1 - abs(side) * (1 - taper))
        offset = (side * span / 2, abs(side) * rise * span)
        z = foil[:, 0] * scale - abs(side) * sweep * span / 2
        y = foil[:, 1] * scale + offset[1]
        sections.append(np.stack([0 * z + offset[0], y, z], -1))
    return p.moved(p.loft(sections), at)


def _engines(d, kind, length, radius, span, sweep, height, place):
    if kind == "glider":
        return []
    if kind in ("prop", "biplane"):
        blade = length * d.between(0.1, 0.2)
        nose = length * 0.505
        parts = [("engine", p.box((0.02, 2 * blade, 0.008), (0, -blade, nose)))]
        if d.chance(0.5):
            blades = p.turned(parts[0][1], "z", np.pi / 2)
            parts.append(("engine", blades))
        wheel = radius * d.between(0.35, 0.6)
        leg = p.rod(
            (0, -radius * 0.5, place), (radius, -2 * radius, place), 0.008, 5
        )
        disc = p.ellipsoid(
            (0.03, 2 * wheel, 2 * wheel), (radius, -2 * radius, place), sides=10
        )
        return parts + [("engine", p.mirrored(p.merge(leg, disc)))]
    size = radius * d.between(0.35, 0.6)
    long = length * d.between(0.1, 0.18)
    pod = p.cylinder(size, long, top=d.between(0.7, 1.0), sides=12)
    pod = p.moved(p.turned(pod, "x", -np.pi / 2), (0, 0, long / 2))
    if kind == "jet":
        pod = p.moved(pod, (size, 0, -length * 0.47))
        return [("engine", p.mirrored(pod))]
    if d.chance(0.25):
        at = (radius + size, radius * 0.4, -length * 0.28)
        return [("engine", p.mirrored(p.moved(pod, at)))]
    under = height - size * 0.9
    pods = [
        p.moved(pod, (k * span, under, place + 0.3 * long - k * span * sweep))
        for k in ((0.17, 0.33) if d.chance(0.4) else (0.2,))
    ]
    return [("engine", p.mirrored(p.merge(*pods)))]
