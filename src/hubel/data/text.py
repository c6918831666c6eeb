"""Text as sequences of symbols: every character has a number, every window of L characters the L that follow each as its targets.

The alphabet is that of the training part, in order of code points, and one symbol more, � (U+FFFD), for every character that the
training part does not have. Text is never shuffled before it is parted: the training part is its beginning, then come validation and
test, and no window lies across a border. Characters are Unicode code points, as they are stored: no case folding, no normal form,
line ends as they are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.dataset import Dataset
from hubel.data.storage import in_slices, room_for

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
SHARE = 0.1


def load_text(
    path: str | os.PathLike[str],
    *,
    length: int = 100,
    step: int | None = None,
    validation: float = SHARE,
    test: float = SHARE,
) -> Dataset:
    """The windows of a UTF-8 file: `read_text`, then `from_text`."""
    file = Path(path).expanduser()
    return from_text(
        read_text(file),
        length=length,
        step=step,
        validation=validation,
        test=test,
        name=file.stem,
        source=str(file.absolute()),
    )


def read_text(path: str | os.PathLike[str]) -> str:
    """The characters of a UTF-8 file; a byte-order mark at its beginning is left out.

    Raises `UnreadableData` naming the first byte that is no UTF-8, `FileNotFoundError` where there is no file.
    """
    content = Path(path).expanduser().read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind the mark
        place = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        line = content.count(b"\n", 0, place) + 1
        marked = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        guess = "It begins as UTF-16 does" if marked else "Where it is Latin-1"
        raise UnreadableData(
            f"{path} is not UTF-8: byte {place} (0x{content[place]:02X}, line {line}): {error.reason}. Save it as UTF-8. {guess}: "
            f"iconv -f {'UTF-16' if marked else 'LATIN1'} -t UTF-8 {path} > utf8.txt"
        ) from error


def from_text(
    text: str,
    *,
    length: int = 100,
    step: int | None = None,
    validation: float = SHARE,
    test: float = SHARE,
    name: str = "text",
    source: str = "text",
) -> Dataset:
    """Windows of `length` characters with the characters that follow: inputs and targets [N, L], numbers of symbols.

    A window begins every `step` characters (default: `length`, so that every character is a target once). `validation` and `test`
    are shares of the text, at its end. `Dataset.part` says the part of each window, `Dataset.reading["alphabet"]` the symbols in
    order, and `ids` are the positions of the windows' first characters.

    Raises `ValueError` for sizes that are not positive, and for a part without one whole window.

    >>> data = from_text("to be or not to be", length=4, validation=0, test=0)
    >>> data.shape, data.reading["alphabet"]
    ((4,), ' benort�')
    >>> text_of(data.inputs[0], data.reading["alphabet"]), text_of(data.targets[0], data.reading["alphabet"])
    ('to b', 'o be')
    """
    step = length if step is None else step
    if length < 1 or step < 1:
        raise ValueError(f"length and step must be positive; received length={length}, step={step}")
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise ValueError(
            f"validation and test are shares of the text that leave something to train on; received {validation} and {test}"
        )
    borders = _borders(len(text), validation, test)
    begins = {part: _begins(part, *border, length, step) for part, border in borders.items()}
    alphabet = alphabet_of(text[slice(*borders["train"])])
    symbols = symbols_of(text, alphabet)
    starts = np.concatenate(list(begins.values()))
    windows = np.lib.stride_tricks.sliding_window_view(symbols, length + 1)
    inputs, targets = (room_for((len(starts), length), symbols.dtype) for _ in range(2))
    for rows in in_slices(inputs):
        inputs[rows], targets[rows] = windows[starts[rows], :-1], windows[starts[rows], 1:]
    return Dataset(
        inputs=inputs,
        targets=targets,
        name=name,
        ids=starts.astype(np.str_),
        part=np.concatenate([np.full(len(found), part) for part, found in begins.items()]),
        source=source,
        notes=_notes(text, alphabet, symbols, begins),
        reading={"kind": "text", "alphabet": alphabet, "shape": [length], "dtype": symbols.dtype.name},
    )


def alphabet_of(text: str) -> str:
    """The different characters of `text` in order of code points, then the one that stands for all others."""
    return "".join(sorted(set(text) - {UNKNOWN})) + UNKNOWN


def symbols_of(text: str, alphabet: str) -> np.ndarray:
    """Numbers [L] of the characters of `text`, in the smallest of uint8, int16 and int32; a character that the alphabet has not
    is the last symbol.

    >>> symbols_of("cab!", "abc�")
    array([2, 0, 1, 3], dtype=uint8)
    """
    known = _code_points(alphabet[:-1])
    if not alphabet.endswith(UNKNOWN) or (np.diff(known.astype(np.int64)) <= 0).any():
        raise ValueError(
            f"an alphabet has every character once, in order of code points, then {UNKNOWN}; received {alphabet[:40]!r}"
        )
    points = _code_points(text)
    kind = np.uint8 if len(alphabet) <= 2**8 else np.int16 if len(alphabet) <= 2**15 else np.int32
    if len(known) == 0:
        return np.zeros(len(points), kind)
    places = np.searchsorted(known, points)
    found = known[np.minimum(places, len(known) - 1)] == points
    return np.where(found, places, len(known)).astype(kind)


def text_of(symbols: np.ndarray | Sequence[int], alphabet: str) -> str:
    """The characters of these numbers [L].

    >>> text_of([2, 0, 1], "abc�")
    'cab'
    """
    return "".join(alphabet[int(number)] for number in symbols)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _borders(num: int, validation: float, test: float) -> dict[str, tuple[int, int]]:
    """First character and end of each part that is wanted."""
    first, second = round(num * (1 - validation - test)), round(num * (1 - test))
    borders = {"train": (0, first)}
    if validation > 0:
        borders["validation"] = (first, second)
    if test > 0:
        borders["test"] = (second, num)
    return borders


def _begins(part: str, first: int, end: int, length: int, step: int) -> np.ndarray:
    """First characters of the windows of a part, of which each needs one character more than its length."""
    begins = np.arange(first, end - length, step)
    if len(begins) == 0:
        remedy = "a smaller length" + ("" if part == "train" else f", or {part}=0")
        raise ValueError(
            f"the {part} part has {end - first:,} characters; expected at least {length + 1:,}, for one window of length={length} and the "
            f"character after it. Give more text, {remedy}"
        )
    return begins


def _notes(text: str, alphabet: str, symbols: np.ndarray, begins: dict[str, np.ndarray]) -> tuple[str, ...]:
    windows = ", ".join(f"{part} {len(found):,}" for part, found in begins.items())
    notes = [
        f"{len(text):,} characters, {len(alphabet) - 1} different ones in the training part; windows in order of the text: {windows}."
    ]
    unknown = int((symbols == len(alphabet) - 1).sum())
    if unknown:
        rare = "".join(sorted(set(text) - set(alphabet)))
        shown = f" ({rare[:20]}{' …' if len(rare) > 20 else ''})" if rare else ""
        notes.append(
            f"{unknown:,} characters{shown} do not occur in the training part; they are read as {UNKNOWN}."
        )
    return tuple(notes)
