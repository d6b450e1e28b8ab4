"""What a person wears and looks like."""

from dataclasses import dataclass

import numpy as np

from synthetic.layer import Color, pick

# BGR
_SKINS: tuple[Color, ...] = (
    (190, 210, 242),
    (165, 195, 235),
    (140, 172, 218),
    (105, 140, 190),
    (75, 105, 155),
    (50, 72, 115),
    (38, 55, 88),
)
_HAIRS: tuple[Color, ...] = (
    (20, 20, 25),
    (30, 38, 52),
    (38, 58, 88),
    (60, 100, 145),
    (95, 150, 195),
    (45, 70, 140),
    (165, 165, 168),
)
_CLOTHS: tuple[Color, ...] = (
    (40, 40, 45),
    (225, 225, 228),
    (130, 130, 132),
    (120, 60, 35),
    (60, 40, 150),
    (45, 110, 45),
    (50, 160, 215),
    (150, 90, 160),
    (190, 150, 60),
    (75, 95, 135),
    (80, 75, 190),
    (170, 190, 215),
    (90, 50, 85),
    (35, 75, 165),
    (160, 165, 90),
    (95, 80, 60),
)
_SHOES: tuple[Color, ...] = (
    (30, 30, 32),
    (215, 215, 220),
    (45, 65, 105),
    (110, 110, 115),
    (60, 45, 150),
    (130, 80, 40),
)


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
