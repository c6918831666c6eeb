"""Numbers with as many digits as they deserve, for a page and its figures."""

from __future__ import annotations

import math
from typing import Any

from hubel.show import wording


def short(value: Any) -> str:
    """Two digits.

    >>> short(0.000123), short(None), short(0.25)
    ('1.2e−4', '–', '0.25')
    """
    if not isinstance(value, (int, float)):
        return "–"
    text = (
        f"{value:.2g}"
        if 0.001 <= abs(value) < 1000 or value == 0
        else f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    )
    return text.replace("-", "−")


def digits(value: Any, error: Any) -> str:
    """As many digits as a number with this standard error has.

    >>> digits(3.990259, 0.025), digits(1.0, 3e-7), digits(2.5, None), digits(None, 0.1)
    ('3.990', '1.00000000', '2.5', '–')
    """
    if not isinstance(value, (int, float)):
        return "–"
    if not isinstance(error, (int, float)) or not 1e-12 < error < 1e3:
        return f"{value:.7g}".replace("-", "−")
    return f"{value:.{max(0, 1 - math.floor(math.log10(error)))}f}".replace("-", "−")


def seconds(value: float) -> str:
    """A time in the unit that suits it.

    >>> seconds(0.00012), seconds(0.14), seconds(34.2)
    ('0.12 ms', '0.14 s', '34 s')
    """
    return f"{value * 1e3:.2g} ms" if value < 0.1 else f"{value:.2g} s" if value < 100 else duration(value)


def duration(value: Any) -> str:
    """A time in words, nothing for what is no number."""
    return wording.duration(value) if isinstance(value, (int, float)) else ""
