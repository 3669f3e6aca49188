"""The four animals, each about one length high, facing +z and standing on y = 0."""

from __future__ import annotations

import numpy as np

from app.scenes.geometry import Part, ball, blend, block, chain, ellipsoid, limb, mirrored, turned


def _legs(x: float, front: float, back: float, top: float, thick: float) -> tuple[Part, ...]:
    pairs = [
        blend(0.05, limb((x, top, z), (x, 0.06, z + 0.01), thick), ball((x, 0.06, z + 0.05), thick * 1.12))
        for z in (front, back)
    ]
    return (Part(mirrored(blend(0.0, *pairs)), "body", 34),)


def _eyes(x: float, y: float, z: float, size: float) -> tuple[Part, ...]:
    spark = ball((x + 0.25 * size, y + 0.45 * size, z + 0.75 * size), 0.33 * size)
    return Part(mirrored(ball((x, y, z), size)), "ink", 22), Part(mirrored(spark), "cream", 34)


def cat(rng: np.random.Generator) -> list[Part]:
    """A round head with pointed ears, and a long tail held high."""
    ear, bend, fat = rng.uniform(0.24, 0.33), rng.uniform(-0.25, 0.3), rng.uniform(0.20, 0.24)
    body = blend(
        0.12,
        limb((0, 0.43, -0.42), (0, 0.46, 0.26), fat + 0.01, fat),
        ellipsoid((0, 0.85, 0.44), (0.32, 0.27, 0.27)),
    )
    ears = mirrored(limb((0.19, 1.00, 0.42), (0.25, 1.02 + ear, 0.40), 0.11, 0.015))
    inner = mirrored(limb((0.19, 1.02, 0.47), (0.235, 0.98 + ear, 0.45), 0.07, 0.01))
    tail = chain(
        [(0, 0.5, -0.6), (0.5 * bend, 0.72, -0.82), (bend, 1.05, -0.80), (1.5 * bend, 1.28, -0.68)],
        [0.075, 0.07, 0.065, 0.06],
    )
    muzzle = mirrored(ellipsoid((0.07, 0.77, 0.67), (0.095, 0.075, 0.075)))
    return [
        Part(blend(0.05, body, ears, tail), "body", 46),
        *_legs(0.14, 0.22, -0.42, 0.35, 0.085),
        Part(inner, "pink", 20),
        Part(muzzle, "second", 22),
        Part(ellipsoid((0, 0.82, 0.735), (0.04, 0.028, 0.03)), "pink", 14),
        *_eyes(0.13, 0.90, 0.655, 0.055),
    ]


def dog(rng: np.random.Generator) -> list[Part]:
    """A long snout, hanging ears, a collar and a short tail."""
    snout, hang, fat = rng.uniform(0.22, 0.34), rng.uniform(0.17, 0.24), rng.uniform(0.22, 0.26)
    body = blend(
        0.12,
        limb((0, 0.48, -0.46), (0, 0.52, 0.28), fat, fat + 0.02),
        limb((0, 0.6, 0.36), (0, 0.84, 0.42), 0.17),
        ellipsoid((0, 0.95, 0.44), (0.25, 0.24, 0.25)),
        limb((0, 0.89, 0.6), (0, 0.85, 0.6 + snout), 0.145, 0.115),
    )
    ears = mirrored(turned(ellipsoid((0.27, 0.92, 0.40), (0.065, hang, 0.13)), 2, 14.0, (0.27, 1.05, 0.4)))
    tail = limb((0, 0.62, -0.64), (rng.uniform(-0.12, 0.12), 0.88, -0.84), 0.07, 0.05)
    collar = turned(ellipsoid((0, 0.74, 0.40), (0.20, 0.045, 0.20)), 0, 12.0, (0, 0.74, 0.4))
    return [
        Part(blend(0.06, body, tail), "body", 46),
        *_legs(0.16, 0.26, -0.46, 0.4, 0.095),
        Part(ears, "second", 30),
        Part(collar, "leather", 26),
        Part(ellipsoid((0, 0.92, 0.70 + snout), (0.07, 0.055, 0.05)), "ink", 16),
        *_eyes(0.115, 1.03, 0.635, 0.048),
    ]


def rabbit(rng: np.random.Generator) -> list[Part]:
    """An egg with two long ears and a ball of a tail."""
    ear, lean, fat = rng.uniform(0.52, 0.68), rng.uniform(0.02, 0.16), rng.uniform(0.33, 0.39)
    body = blend(
        0.1,
        ellipsoid((0, 0.42, -0.16), (fat, 0.41, 0.44)),
        ellipsoid((0, 0.86, 0.20), (0.27, 0.26, 0.27)),
        mirrored(limb((0.11, 1.04, 0.14), (0.11 + lean, 1.04 + ear, 0.02), 0.085, 0.075)),
    )
    inner = mirrored(limb((0.115, 1.14, 0.20), (0.11 + lean, 1.0 + ear, 0.085), 0.045, 0.035))
    feet = mirrored(blend(0.03, ellipsoid((0.19, 0.09, 0.18), (0.11, 0.09, 0.23)), ball((0.11, 0.3, 0.24), 0.1)))
    cheeks = mirrored(ball((0.065, 0.78, 0.42), 0.085))
    return [
        Part(body, "body", 44),
        Part(feet, "body", 28),
        Part(inner, "pink", 24),
        Part(cheeks, "second", 22),
        Part(ball((0, 0.32, -0.62), 0.15), "cream", 20),
        Part(ellipsoid((0, 0.845, 0.475), (0.04, 0.03, 0.03)), "pink", 14),
        *_eyes(0.15, 0.92, 0.40, 0.05),
    ]


def bird(rng: np.random.Generator) -> list[Part]:
    """A plump body on thin legs, with a beak, folded wings and a flat tail."""
    beak, lift, fat = rng.uniform(0.2, 0.3), rng.uniform(5.0, 30.0), rng.uniform(0.32, 0.37)
    tail = turned(block((0, 0.66, -0.62), (0.13, 0.045, 0.28), 0.04), 0, lift, (0, 0.66, -0.4))
    body = blend(
        0.14,
        turned(ellipsoid((0, 0.64, -0.02), (fat, 0.34, 0.46)), 0, -12.0, (0, 0.64, 0)),
        ellipsoid((0, 1.06, 0.26), (0.25, 0.25, 0.25)),
        tail,
    )
    wing = turned(ellipsoid((fat + 0.0, 0.68, -0.10), (0.075, 0.2, 0.36)), 0, 14.0, (0, 0.68, -0.1))
    feet = mirrored(
        blend(
            0.02,
            limb((0.14, 0.36, 0.02), (0.15, 0.05, 0.04), 0.036),
            limb((0.15, 0.04, 0.0), (0.20, 0.035, 0.18), 0.036, 0.03),
            limb((0.15, 0.04, 0.0), (0.10, 0.035, 0.18), 0.036, 0.03),
        )
    )
    return [
        Part(body, "body", 44),
        Part(mirrored(wing), "second", 32),
        Part(limb((0, 1.03, 0.46), (0, 0.99, 0.5 + beak), 0.105, 0.015), "orange", 24),
        Part(feet, "orange", 32),
        *_eyes(0.145, 1.13, 0.44, 0.05),
    ]
