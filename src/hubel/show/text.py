"""The sections of a run on text: the bits that every symbol took, worst passages, confusions, what entered, what it writes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from hubel.show import wording
from hubel.show.downloads import csv_text, data_address
from hubel.show.evidence import Evidence

MOST_SHADE = 8  # bits from which on a symbol has the fullest colour
SHOWN = 3000  # symbols of the test text that are coloured
WORST = 8  # passages
MOST_ROWS = 12
ENTERING = 6  # windows
NAMES = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "\\r"}


def text(evidence: Evidence) -> dict[str, Any] | None:
    """All of it; None for a run on anything else."""
    if evidence.kind != "symbols":
        return None
    return {
        "alphabet": _alphabet(evidence.alphabet),
        "written": _written(evidence),
        "entering": _entering(evidence),
        "scale": list(range(MOST_SHADE + 1)),
        **_errors(evidence),
    }


def coloured(symbols: np.ndarray, bits: np.ndarray, alphabet: tuple[str, ...]) -> list[dict[str, Any]]:
    """Pieces of text [n] of equal shade: 0 for a symbol that took less than half a bit, to `MOST_SHADE`.

    >>> coloured(np.array([0, 1, 0]), np.array([0.1, 0.2, 5.0]), ("a", "b"))
    [{'text': 'ab', 'shade': 0}, {'text': 'a', 'shade': 5}]
    """
    shades = np.minimum(np.round(bits), MOST_SHADE).astype(int)
    pairs = zip(_lines([alphabet[number] for number in symbols.tolist()]), shades.tolist(), strict=True)
    return [
        {"text": "".join(symbol for symbol, _ in group), "shade": shade}
        for shade, group in itertools.groupby(pairs, key=lambda pair: pair[1])
    ]


def _lines(symbols: list[str]) -> list[str]:
    r"""Symbols as a page shows them, where every line end is one, also \r\n in two symbols of different shades.

    >>> _lines(["a", "\r", "\n", "\r", "b\r\n"])
    ['a', '', '\n', '\n', 'b\n']
    """
    behind = [*symbols[1:], ""]
    ends = ["" if after.startswith("\n") else "\n" for after in behind]
    return [
        symbol.replace("\r\n", "\n").replace("\r", end) for symbol, end in zip(symbols, ends, strict=True)
    ]


def symbol_name(symbol: str) -> str:
    r"""A symbol as one can see it.

    >>> symbol_name("\n"), symbol_name(" the"), symbol_name("a")
    ('↵', '␣the', 'a')
    """
    return "".join(NAMES.get(c, c if c.isprintable() else f"U+{ord(c):04X}") for c in symbol)


def _errors(evidence: Evidence) -> dict[str, Any]:
    if (found := evidence.foretold) is None:
        return {"passage": None, "worst": [], "confusions": [], "costs": [], "csv": ""}
    targets, values, bits = found
    return {
        "passage": _passage(evidence, targets, bits),
        "worst": _worst(evidence, targets, bits),
        "confusions": _confusions(evidence.alphabet, targets, values),
        "costs": _costs(evidence.alphabet, targets, values, bits)[:MOST_ROWS],
        "csv": data_address(_costs_csv(evidence.alphabet, targets, values, bits)),
    }


def _passage(evidence: Evidence, targets: np.ndarray, bits: np.ndarray) -> list[list[dict[str, Any]]]:
    """The beginning of the scored text; windows that follow one another are one paragraph."""
    length = targets.shape[1]
    places = np.array([int(i) if i.isdecimal() else -1 for i in evidence.ids[: SHOWN // length + 1]])
    breaks = np.flatnonzero(np.diff(places) != length) + 1
    return [
        coloured(targets[rows].ravel(), bits[rows].ravel(), evidence.alphabet)
        for rows in np.split(np.arange(len(places)), breaks)
    ]


def _worst(evidence: Evidence, targets: np.ndarray, bits: np.ndarray) -> list[dict[str, Any]]:
    means = bits.mean(axis=1)
    return [
        {
            "id": evidence.ids[row],
            "bits": wording.number(float(f"{means[row]:.3g}")),
            "pieces": coloured(targets[row], bits[row], evidence.alphabet),
        }
        for row in np.argsort(-means, kind="stable")[:WORST].tolist()
    ]


def _confusions(alphabet: tuple[str, ...], targets: np.ndarray, values: np.ndarray) -> list[dict[str, str]]:
    """What came and what was thought likeliest in its place, the most frequent first."""
    size = len(alphabet)
    pairs = targets.ravel().astype(np.int64) * size + values.ravel()
    found, counts = np.unique(pairs[targets.ravel() != values.ravel()], return_counts=True)
    totals = np.bincount(targets.ravel(), minlength=size)
    rows = []
    for place in np.argsort(-counts, kind="stable")[:MOST_ROWS].tolist():
        came, said = divmod(int(found[place]), size)
        rows.append(
            {
                "came": symbol_name(alphabet[came]),
                "said": symbol_name(alphabet[said]),
                "count": wording.number(int(counts[place])),
                "share": f"{wording.percent(float(counts[place] / totals[came]))} %",
            }
        )
    return rows


def _costs(
    alphabet: tuple[str, ...], targets: np.ndarray, values: np.ndarray, bits: np.ndarray
) -> list[dict[str, Any]]:
    """For each symbol that came: how often, the mean of its bits, its share of all bits, how often it was foretold; the dearest first."""
    flat, size = targets.ravel(), len(alphabet)
    counts = np.bincount(flat, minlength=size)
    sums = np.bincount(flat, weights=bits.ravel(), minlength=size)
    right = np.bincount(flat[flat == values.ravel()], minlength=size)
    return [
        {
            "symbol": symbol_name(alphabet[k]),
            "count": wording.number(int(counts[k])),
            "bits": f"{sums[k] / counts[k]:.3g}",
            "share": f"{wording.percent(float(sums[k] / max(sums.sum(), 1e-300)))} %",
            "right": f"{wording.percent(float(right[k] / counts[k]))} %",
        }
        for k in np.argsort(-sums, kind="stable").tolist()
        if counts[k]
    ]


def _costs_csv(alphabet: tuple[str, ...], targets: np.ndarray, values: np.ndarray, bits: np.ndarray) -> str:
    header = ["symbol", "count", "bits", "share", "right"]
    return csv_text(
        header, ([row[name] for name in header] for row in _costs(alphabet, targets, values, bits)[:2000])
    )


def _alphabet(alphabet: tuple[str, ...], most: int = 120) -> str:
    shown = " ".join(symbol_name(symbol) for symbol in alphabet[:most])
    return f"{wording.number(len(alphabet))}: {shown}{' …' if len(alphabet) > most else ''}"


def _written(evidence: Evidence) -> dict[str, str] | None:
    written = evidence.part("written")
    if not isinstance(written.get("text"), str) or not written["text"]:
        return None
    return {
        "text": written["text"],
        "how": f"temperature {wording.value_text(written.get('temperature'))}, seed {wording.value_text(written.get('seed'))}",
    }


def _entering(evidence: Evidence) -> dict[str, Any] | None:
    symbols = evidence.arrays.get("entering_symbols")
    if symbols is None or symbols.ndim != 2 or symbols.dtype.kind not in "iu" or not symbols.size:
        return None
    if symbols.min() < 0 or symbols.max() >= len(evidence.alphabet):
        return None
    shown = symbols[:ENTERING].tolist()
    return {
        "windows": ["".join(evidence.alphabet[k] for k in row) for row in shown],
        "numbers": " ".join(str(k) for k in shown[0][:24]) + (" …" if symbols.shape[1] > 24 else ""),
        "length": wording.number(symbols.shape[1]),
    }
