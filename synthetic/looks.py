"""Clothing, hair and colours of a person."""

from dataclasses import dataclass

import numpy as np

from synthetic.layer import Color, palette, pick

_SKINS = palette("f2d2be ebc3a5 daac8c be8c69 9b694b 734832 583726")
_HAIRS = palette("191414 34261e 583a26 91643c c3965f 8c462d a8a5a5")
_CLOTHS = palette(
    "2d2828 e4e1e1 848282 233c78 96283c 2d6e2d d7a032 a05a96 3c96be 875f4b be4b50 d7beaa 55325a a54b23 5aa5a0 3c505f"
)
_SHOES = palette("201e1e dcd7d7 69412d 736e6e 962d3c 285082")


@dataclass(frozen=True)
class Looks:
    """Colours (BGR) and kinds of clothing.

    Attributes:
        skin, hair, top, bottom, shoes, accent: colours.
        sleeve: share of the arm that is covered, 0 to 2 (1 = elbow, 2 = wrist).
        legs: `trousers`, `shorts`, `skirt` or `dress`.
        pattern: `plain`, `stripes`, `print`, `jacket` or `belt`.
        haircut: `short`, `long`, `bald`, `cap` or `bun`.
        beard, glasses: whether worn.
    """

    skin: Color
    hair: Color
    top: Color
    bottom: Color
    shoes: Color
    accent: Color
    sleeve: float
    legs: str
    pattern: str
    haircut: str
    beard: bool
    glasses: bool


def sample_looks(rng: np.random.Generator) -> Looks:
    """Draw one outfit."""
    sleeve = (rng.uniform(0.0, 0.2), rng.uniform(0.45, 0.85), rng.uniform(1.6, 2.0))[
        rng.choice(3, p=(0.12, 0.43, 0.45))
    ]
    return Looks(
        skin=pick(rng, _SKINS, 6),
        hair=pick(rng, _HAIRS, 6),
        top=pick(rng, _CLOTHS),
        bottom=pick(rng, _CLOTHS),
        shoes=pick(rng, _SHOES),
        accent=pick(rng, _CLOTHS),
        sleeve=float(sleeve),
        legs=str(rng.choice(("trousers", "shorts", "skirt", "dress"), p=(0.58, 0.2, 0.11, 0.11))),
        pattern=str(rng.choice(("plain", "stripes", "print", "jacket", "belt"), p=(0.4, 0.18, 0.14, 0.14, 0.14))),
        haircut=str(rng.choice(("short", "long", "bald", "cap", "bun"), p=(0.44, 0.26, 0.08, 0.14, 0.08))),
        beard=bool(rng.random() < 0.12),
        glasses=bool(rng.random() < 0.15),
    )
