"""Arrays as small PNG pictures inside the page, within a number of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hubel.show.wording import number

SIDES = (160, 128, 96, 64, 48, 32)  # longest side in pixels, tried in turn
MOST_CHANNELS = 6


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures [m] as lists of data addresses, one a panel (a colour picture, or each channel in grey)."""

    panels: tuple[tuple[str, ...], ...]
    width: int
    height: int
    statement: str


def gallery(
    pictures: np.ndarray,
    *,
    budget: int,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
    size: str = "",
    noun: str = "channel",
    most: int = MOST_CHANNELS,
) -> Gallery | None:
    """Pictures [m, C, H, W] of any number type, encoded in at most `budget` bytes.

    One channel is grey, three are red, green, blue; any other number is shown channel by channel, `most` at
    most. Values from `low` to `high` are black to white; by default 0 to 255 for bytes that use them, and
    otherwise the range that holds 99 % of the values shown. `size` says what they are, in words; by default rows × columns. Where the
    second axis holds other things than channels, `noun` names them: they are shown one by one, with one range for all. None where these
    are no pictures.
    """
    if pictures.ndim != 4 or 0 in pictures.shape or pictures.dtype.kind not in "biuf":
        return None
    num_channels = pictures.shape[1]
    colour = num_channels == 3 and noun == "channel"
    shown = pictures if colour else pictures[:, :most]
    if low is None or high is None:
        low, high = display_range(shown, colour or noun != "channel")
    else:
        low, high = _per_channel(low, shown), _per_channel(high, shown)
    panels: tuple[tuple[str, ...], ...] = ()
    for side in SIDES:
        small = _shrunk(shown, side)
        first = sum(len(_png(panel)) for panel in _panels(small[0], low, high, colour))
        if side != SIDES[-1] and first * len(small) > 1.5 * budget:
            continue  # far too much: the others need not be encoded to know it
        panels = tuple(tuple(_png(p) for p in _panels(picture, low, high, colour)) for picture in small)
        if _weight(panels) <= budget:
            break
    while panels and _weight(panels) > budget:
        panels = panels[:-1]
    if not panels:
        return None
    return Gallery(
        panels=panels,
        width=pictures.shape[3],
        height=pictures.shape[2],
        statement=_statement(pictures.shape, low, high, colour, size, noun, most),
    )


def levels(pictures: np.ndarray) -> list[list[np.ndarray]] | None:
    """Pictures [m, C, H, W] as bytes 0 to 255, each a list of panels as in `gallery`; None where these are none."""
    if pictures.ndim != 4 or 0 in pictures.shape or pictures.dtype.kind not in "biuf":
        return None
    shown, colour = pictures[:, :MOST_CHANNELS], pictures.shape[1] == 3
    low, high = display_range(shown, colour)
    return [_panels(picture, low, high, colour) for picture in shown.astype(np.float64)]


def channel_table(pictures: np.ndarray, names: Sequence[str] = ()) -> list[dict[str, str]]:
    """Lowest, highest, mean and spread of each channel of [m, C, ...], in words."""
    rows = []
    for channel in range(min(pictures.shape[1], 32)):
        values = np.asarray(pictures[:, channel], np.float64)
        values = values[np.isfinite(values)]
        numbers = (values.min(), values.max(), values.mean(), values.std()) if len(values) else (np.nan,) * 4
        rows.append(
            {
                "name": names[channel] if channel < len(names) else str(channel),
                **{
                    key: number(float(f"{v:.3g}"))
                    for key, v in zip(("low", "high", "mean", "spread"), numbers, strict=True)
                },
            }
        )
    return rows


def display_range(pictures: np.ndarray, colour: bool) -> tuple[np.ndarray, np.ndarray]:
    """Black and white for each channel; one range for all three colours."""
    if pictures.dtype == np.uint8 and pictures.max() >= 128:
        return np.zeros(pictures.shape[1]), np.full(pictures.shape[1], 255.0)
    values = np.moveaxis(pictures, 1, 0).reshape(1 if colour else pictures.shape[1], -1).astype(np.float64)
    ranges = []
    for channel in values:
        finite = channel[np.isfinite(channel)]
        ranges.append(np.quantile(finite, [0.005, 0.995]) if len(finite) else (0.0, 1.0))
    low, high = np.array(ranges).T
    return np.broadcast_to(low, pictures.shape[1]), np.broadcast_to(high, pictures.shape[1])


def _per_channel(limit: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    limit = np.asarray(limit, np.float64).ravel()
    if len(limit) not in (1, pictures.shape[1]):
        limit = limit[:1]
    return np.broadcast_to(limit, pictures.shape[1])


def _shrunk(pictures: np.ndarray, side: int) -> np.ndarray:
    """Pictures whose longest side is at most `side`, each pixel the mean of a block."""
    block = -(-max(pictures.shape[2:]) // side)
    if block <= 1:
        return pictures.astype(np.float64)
    pad = [(0, 0), (0, 0)] + [(0, -n % block) for n in pictures.shape[2:]]
    padded = np.pad(pictures.astype(np.float64), pad, mode="edge")
    m, c, h, w = padded.shape
    return padded.reshape(m, c, h // block, block, w // block, block).mean(axis=(3, 5))


def _panels(picture: np.ndarray, low: np.ndarray, high: np.ndarray, colour: bool) -> list[np.ndarray]:
    low, high = low[:, None, None], high[:, None, None]
    span = np.where(high > low, high - low, 1.0)
    grey = np.clip((np.nan_to_num(picture, nan=-1e300, posinf=1e300, neginf=-1e300) - low) / span, 0, 1)
    as_bytes = np.round(255 * grey).astype(np.uint8)
    return [np.moveaxis(as_bytes, 0, -1)] if colour else list(as_bytes)


def _png(panel: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(panel)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _weight(panels: tuple[tuple[str, ...], ...]) -> int:
    return sum(len(panel) for picture in panels for panel in picture)


def _statement(
    shape: tuple[int, ...], low: np.ndarray, high: np.ndarray, colour: bool, size: str, noun: str, most: int
) -> str:
    _, num_channels, height, width = shape
    same = len(set(low.tolist())) == 1 and len(set(high.tolist())) == 1

    def short(value: float) -> str:
        return number(float(f"{value:.3g}"))

    if same:
        span = f"Black is {short(low[0])}, white is {short(high[0])}."
    else:
        spans = ", ".join(f"{short(a)} to {short(b)}" for a, b in zip(low, high, strict=True))
        span = f"Black to white, {noun} by {noun}: {spans}."
    if colour:
        kind = "the three channels as red, green and blue"
    elif num_channels == 1:
        kind = f"one {noun} in grey"
    elif most == 1:
        kind = f"the first of {num_channels} {noun}s in grey"
    elif num_channels > most:
        kind = f"the first {most} of {num_channels} {noun}s, side by side in grey"
    else:
        kind = f"{num_channels} {noun}s, side by side in grey"
    return f"{size or f'{height} × {width} pixels'}, {kind}. {span}"
