"""The vehicles and the chair, facing +z and standing on y = 0."""

from __future__ import annotations

import numpy as np

from app.scenes.geometry import Field, Part, ball, below, blend, block, cut, disc, ellipsoid, limb, mirrored, turned


def _wheels(x: float, front: float, back: float, radius: float) -> tuple[Part, ...]:
    tyres = [disc((x, radius, z), radius, 0.10, 0, 0.05) for z in (front, back)]
    hubs = [disc((x + 0.08, radius, z), 0.5 * radius, 0.04, 0, 0.02) for z in (front, back)]
    return Part(mirrored(blend(0.0, *tyres)), "ink", 44), Part(mirrored(blend(0.0, *hubs)), "metal", 40)


def _lamps(x: float, y: float, front: float, back: float) -> tuple[Part, ...]:
    head = mirrored(disc((x, y, front), 0.085, 0.05, 2, 0.03))
    tail = mirrored(block((x + 0.03, y, back), (0.07, 0.05, 0.04), 0.03))
    return Part(head, "lamp", 22), Part(tail, "signal", 22)


def car(rng: np.random.Generator) -> list[Part]:
    """A small saloon: a low body, a glass house, four wheels."""
    long, high, shift = rng.uniform(0.78, 0.92), rng.uniform(0.20, 0.27), rng.uniform(-0.18, 0.02)
    roof = 0.56 + 2 * high
    body = blend(
        0.10,
        block((0, 0.40, 0), (0.44, 0.19, long), 0.13),
        block((0, roof, shift), (0.33, 0.06, 0.40), 0.06),
    )
    pillars = mirrored(limb((0.33, 0.58, shift - 0.36), (0.27, roof, shift - 0.28), 0.045))
    posts = mirrored(limb((0.35, 0.56, shift + 0.02), (0.29, roof, shift + 0.02), 0.035))
    glass = block((0, 0.55 + high, shift), (0.35, high, 0.42), 0.12)
    return [
        Part(body, "body", 48),
        Part(blend(0.0, pillars, posts), "body", 34),
        Part(glass, "glass", 34),
        *_wheels(0.40, 0.56 * long / 0.85, -0.54 * long / 0.85, 0.20),
        *_lamps(0.27, 0.42, long - 0.01, -long + 0.01),
        Part(block((0, 0.28, long), (0.36, 0.05, 0.05), 0.04), "metal", 30),
    ]


def truck(rng: np.random.Generator) -> list[Part]:
    """A lorry: a cab with a windscreen and a tall box behind it."""
    tall, long = rng.uniform(0.46, 0.58), rng.uniform(0.60, 0.72)
    cab = block((0, 0.62, 0.66), (0.40, 0.40, 0.32), 0.12)
    cargo = block((0, 0.34 + tall, 0.28 - long), (0.46, tall, long), 0.07)
    screen = block((0, 0.80, 0.93), (0.31, 0.15, 0.08), 0.06)
    door = block((0, 0.80, 0.68), (0.42, 0.13, 0.15), 0.04)
    ribs = [block((0, 0.34 + tall, 0.28 - long + s * long), (0.475, 0.8 * tall, 0.03), 0.02) for s in (-0.5, 0.0, 0.5)]
    return [
        Part(blend(0.0, cab, cargo), "body", 50),
        Part(blend(0.0, *ribs), "second", 34),
        Part(blend(0.0, screen, door), "glass", 34),
        Part(block((0, 0.27, 0.0), (0.34, 0.07, 0.9), 0.04), "metal", 36),
        *_wheels(0.40, 0.66, -0.55, 0.21),
        *_lamps(0.27, 0.40, 0.97, 0.28 - 2 * long),
    ]


def boat(rng: np.random.Generator) -> list[Part]:
    """A round-bellied sailing boat with a mast and a sail."""
    tall, sail_turn, cabin = rng.uniform(1.35, 1.65), rng.uniform(-16.0, 16.0), rng.uniform(0.12, 0.17)
    shell = ellipsoid((0, 0.50, 0), (0.44, 0.50, 0.98))
    rim = block((0, 1.05, 0), (1.0, 0.55, 1.2), 0.0)
    hull = cut(shell, rim, ellipsoid((0, 0.56, 0), (0.38, 0.30, 0.88)))
    deck = _lens(0.40, 0.90, 0.42)
    sail = turned(_sail(tall), 1, sail_turn, (0, 0, 0.18))
    return [
        Part(hull, "body", 52),
        Part(deck, "wood", 36),
        Part(block((0, 0.5, -0.42), (0.2, cabin, 0.22), 0.05), "second", 24),
        Part(limb((0, 0.4, 0.18), (0, tall + 0.1, 0.18), 0.04, 0.03), "wood", 40),
        Part(sail, "body", 56),
        Part(blend(0.0, limb((0, 0.62, 0.2), (0, 0.62, -0.72), 0.028), ball((0, tall + 0.13, 0.18), 0.05)), "wood", 44),
    ]


def _lens(width: float, length: float, top: float) -> Field:
    slab = ellipsoid((0, top, 0), (width, 0.3, length))
    return lambda p: np.maximum(slab(p), np.abs(p[:, 1] - top) - 0.03)


def _sail(tall: float) -> Field:
    """A triangle in the plane x = 0 with its upright edge at the mast, bellied out a little."""
    low = 0.68

    def field(p: np.ndarray) -> np.ndarray:
        up = (p[:, 1] - low) / (tall - low)
        belly = 0.10 * np.sin(np.pi * np.clip((0.18 - p[:, 2]) / 0.9, 0.0, 1.0)) * np.clip(1.0 - up, 0.0, 1.0)
        edge = (0.18 - p[:, 2]) - 0.88 * (1.0 - up)
        outline = np.maximum(np.maximum(edge * 0.7, p[:, 2] - 0.13), low - p[:, 1])
        return np.maximum(outline, np.abs(p[:, 0] - belly) - 0.03)

    return field


def chair(rng: np.random.Generator) -> list[Part]:
    """A chair: four legs, a seat, and a back of slats or one board."""
    tall, wide, slats = rng.uniform(1.15, 1.4), rng.uniform(0.34, 0.42), bool(rng.random() < 0.5)
    legs = [limb((wide - 0.06, 0.55, z), (wide - 0.01, 0.04, 1.12 * z), 0.065, 0.05) for z in (0.32, -0.32)]
    uprights = limb((wide - 0.06, 0.55, -0.34), (wide - 0.07, tall, -0.46), 0.06, 0.05)
    top = block((0, tall - 0.06, -0.45), (wide, 0.12, 0.055), 0.05)
    board = turned(block((0, 0.85, -0.39), (wide - 0.1, 0.2, 0.04), 0.03), 0, 8.0, (0, 0.85, -0.39))
    bars = mirrored(limb((0.12, 0.6, -0.36), (0.12, tall - 0.1, -0.45), 0.04))
    return [
        Part(mirrored(blend(0.04, *legs, uprights)), "body", 46),
        Part(block((0, 0.58, 0), (wide + 0.03, 0.075, 0.42), 0.06), "body", 34),
        Part(blend(0.03, top, bars if slats else board), "body", 36),
        Part(block((0, 0.66, 0.03), (wide - 0.07, 0.05, 0.32), 0.05), "second", 28),
    ]


def post(rng: np.random.Generator) -> list[Part]:
    """A wooden post, a little taller than any object."""
    lean = rng.uniform(-0.05, 0.05)
    return [
        Part(limb((0, 0.0, 0), (lean, 1.75, 0), 0.135, 0.125), "wood", 44),
        Part(disc((0.93 * lean, 1.62, 0), 0.16, 0.05, 1, 0.03), "leather", 24),
    ]


def bush(rng: np.random.Generator) -> list[Part]:
    """A round bush of leafy lumps."""
    lumps = []
    for _ in range(11):
        x, z, y = rng.uniform(-0.30, 0.30), rng.uniform(-0.18, 0.18), rng.uniform(0.16, 0.62)
        lumps.append(ball((float(x), float(y), float(z)), float(rng.uniform(0.15, 0.23))))
    berries = [ball((float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0.2, 0.65)), 0.3), 0.035) for _ in range(5)]
    return [Part(blend(0.05, *lumps), "leaf", 40), Part(blend(0.0, *berries), "blossom", 40)]


def lamp_post(rng: np.random.Generator) -> list[Part]:
    """A street lamp, or at home a floor lamp: a thin stand and a glowing globe."""
    tall = float(rng.uniform(1.7, 2.0))
    foot = disc((0, 0.05, 0), 0.16, 0.05, 1, 0.03)
    return [
        Part(blend(0.05, limb((0, 0, 0), (0, tall, 0), 0.045, 0.035), foot), "iron", 44),
        Part(ball((0, tall + 0.13, 0), 0.17), "lamp", 22),
        Part(disc((0, tall + 0.31, 0), 0.12, 0.035, 1, 0.03), "iron", 20),
    ]


def round_tree(rng: np.random.Generator) -> list[Part]:
    """A broad-leaved tree."""
    lumps = [ball((0, 1.3, 0), 0.5)]
    for _ in range(6):
        x, y, z = rng.uniform(-0.4, 0.4), rng.uniform(1.0, 1.75), rng.uniform(-0.4, 0.4)
        lumps.append(ball((float(x), float(y), float(z)), float(rng.uniform(0.25, 0.38))))
    return [Part(blend(0.08, *lumps), "leaf", 30), Part(limb((0, 0, 0), (0, 1.2, 0), 0.12, 0.09), "wood", 26)]


def pine(rng: np.random.Generator) -> list[Part]:
    """A fir in three tiers, with snow on it."""
    tiers = [(0.45, 0.62), (0.85, 0.48), (1.22, 0.34)]
    green = [limb((0, y, 0), (0, y + 0.52, 0), r, 0.03) for y, r in tiers]
    snow = [limb((0, y + 0.16, 0), (0, y + 0.56, 0), 0.72 * r, 0.03) for y, r in tiers]
    stretch = float(rng.uniform(-0.04, 0.04))
    flat = [cut(f, below(y - 0.02 + stretch)) for f, (y, _) in zip(green, tiers, strict=True)]
    return [
        Part(blend(0.02, *flat), "fir", 32),
        Part(blend(0.02, *snow), "snow", 30),
        Part(limb((0, 0, 0), (0, 0.5, 0), 0.09), "wood", 18),
    ]


def cactus(rng: np.random.Generator) -> list[Part]:
    """A cactus with two arms."""
    a, b = float(rng.uniform(0.4, 0.7)), float(rng.uniform(0.6, 0.9))
    arms = [
        limb((0, a, 0), (0.36, a + 0.05, 0), 0.09),
        limb((0.36, a + 0.05, 0), (0.38, a + 0.45, 0), 0.09),
        limb((0, b, 0), (-0.32, b + 0.04, 0), 0.08),
        limb((-0.32, b + 0.04, 0), (-0.33, b + 0.36, 0), 0.08),
    ]
    return [Part(blend(0.06, limb((0, 0, 0), (0, 1.45, 0), 0.17, 0.15), *arms), "fir", 34)]


def rock(rng: np.random.Generator) -> list[Part]:
    """A few rounded stones."""
    stones = [
        ellipsoid(
            (float(rng.uniform(-0.3, 0.3)), 0.08, float(rng.uniform(-0.2, 0.2))), (float(r), 0.7 * float(r), float(r))
        )
        for r in rng.uniform(0.14, 0.34, 4)
    ]
    return [Part(blend(0.03, *stones), "stone", 28)]
