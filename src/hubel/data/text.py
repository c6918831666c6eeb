"""Text as sequences of symbols: every character has a number, every window of L characters the L that follow each as its targets.

The alphabet is that of the training part, in order of code points, and one symbol more, � (U+FFFD), for every character that the
training part does not have. Text is never shuffled before it is parted: the training part is its beginning, then come validation and
test, and no window lies across a border. Characters are Unicode code points, as they are stored: no case folding, no normal form,
line ends as they are.

Symbols may be longer than a character. `tokens="words"` takes words with the space before them, marks, and white space, so that the
symbols of a text, put together, are the text; a function of the user's own may cut it otherwise.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hubel.core.errors import UnreadableData
from hubel.data.dataset import Dataset
from hubel.data.storage import in_slices, room_for

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
SHARE = 0.1
LENGTH = 100
SUFFIXES = (".txt", ".text", ".md")
WORDS = re.compile(r" ?\w+| ?[^\w\s]+|\s+")
AT_ONCE = 2**22  # characters whose numbers are looked up together

Tokens = Literal["characters", "words"] | Callable[[str], Sequence[str]]
"""How a text is cut into symbols; a function answers them in order."""


def is_text(path: str | os.PathLike[str]) -> bool:
    """Whether a file of this name is read as text."""
    return Path(path).name.lower().endswith(SUFFIXES)


def load_text(
    path: str | os.PathLike[str],
    *,
    length: int = LENGTH,
    step: int | None = None,
    tokens: Tokens = "characters",
    least: int | None = None,
    variants: Callable[[str], Sequence[str]] | None = None,
    validation: float = SHARE,
    test: float = SHARE,
) -> Dataset:
    """The windows of a UTF-8 file: `read_text`, then `from_text`."""
    file = Path(path).expanduser()
    return from_text(
        read_text(file),
        length=length,
        step=step,
        tokens=tokens,
        least=least,
        variants=variants,
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
    length: int = LENGTH,
    step: int | None = None,
    tokens: Tokens = "characters",
    least: int | None = None,
    variants: Callable[[str], Sequence[str]] | None = None,
    validation: float = SHARE,
    test: float = SHARE,
    name: str = "text",
    source: str = "text",
) -> Dataset:
    """Windows of `length` symbols with the symbols that follow: inputs and targets [N, L], numbers of symbols.

    In the training part a window begins every `step` symbols (default: `length`); in validation and test every `length`, so that no symbol
    is scored twice. The first symbol of a part, and what is left at its end and makes no whole window, are no targets. `tokens` says what a symbol is:
    "characters", "words", or a function from a text to its symbols. What occurs fewer than `least` times in the training part (default
    1 for characters, 2 else) is read as �, as is what does not occur there. `validation` and `test` are shares of the symbols, at the
    end of the text. `variants` is a function from the text of the training part to other texts, which are trained on as well.

    `Dataset.part` says the part of each window, `Dataset.alphabet` the symbols in order, and `ids` are the positions of the windows'
    first symbols.

    Raises `ValueError` for sizes that are not positive, for an empty text, and for a part without one whole window.

    >>> data = from_text("to be or not to be", length=4, validation=0, test=0)
    >>> data.shape, "".join(data.alphabet)
    ((4,), ' benort�')
    >>> text_of(data.inputs[0], data.alphabet), text_of(data.targets[0], data.alphabet)
    ('to b', 'o be')
    """
    step = length if step is None else step
    least = (1 if tokens == "characters" else 2) if least is None else least
    if length < 1 or step < 1 or least < 1:
        raise ValueError(
            f"length, step and least must be positive; received length={length}, step={step}, least={least}"
        )
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise ValueError(
            f"validation and test are shares of the text that leave something to train on; received {validation} and {test}"
        )
    if not text:
        raise ValueError(f"{source} is empty: expected a text of at least {length + 1:,} symbols")
    cut = cut_text(text, tokens)
    borders = _borders(len(cut), validation, test)
    begins = {
        part: _begins(part, *border, length, step if part == "train" else length)
        for part, border in borders.items()
    }
    training = cut[slice(*borders["train"])]
    others = [cut_text(other, tokens) for other in variants("".join(training))] if variants else []
    alphabet = alphabet_of(_together([training, *others]), least)
    symbols = symbols_of(cut, alphabet)
    pieces = [(symbols, np.concatenate(list(begins.values())))]
    for other in others:
        pieces.append((symbols_of(other, alphabet), _begins("variant", 0, len(other), length, step)))
    inputs, targets = _windows(pieces, length, symbols.dtype)
    added = sum(len(starts) for _, starts in pieces[1:])
    parts = [np.full(len(found), part) for part, found in begins.items()] + [np.full(added, "train")]
    ids = [_as_words(pieces[0][1])]
    ids += [
        np.char.add(f"variant {k}: ", _as_words(starts)) for k, (_, starts) in enumerate(pieces[1:], start=1)
    ]
    return Dataset(
        inputs=inputs,
        targets=targets,
        name=name,
        alphabet=alphabet,
        ids=np.concatenate(ids),
        part=np.concatenate(parts),
        source=source,
        notes=_notes(cut, tokens, alphabet, symbols, begins, added),
        reading={
            "kind": "text",
            "alphabet": list(alphabet),
            "tokens": "own" if callable(tokens) else tokens,
            "shape": [length],
            "dtype": symbols.dtype.name,
        },
    )


def cut_text(text: str, tokens: Tokens) -> Sequence[str]:
    r"""The symbols of `text` in order; of characters the text itself, which is the sequence of its characters.

    >>> cut_text("to be, or\n not", "words")
    ['to', ' be', ',', ' or', '\n ', 'not']
    """
    if tokens == "characters":
        return text
    if tokens == "words":
        return WORDS.findall(text)
    if not callable(tokens):
        raise ValueError(f'tokens is {tokens!r}; expected "characters", "words", or a function of the text')
    found = list(tokens(text))
    if wrong := [t for t in found if not isinstance(t, str) or not t]:
        raise TypeError(
            f"the function of tokens answered {wrong[0]!r} among its symbols; expected strings of one character or more"
        )
    return found


def alphabet_of(symbols: Sequence[str], least: int = 1) -> tuple[str, ...]:
    """The different symbols of a text (a string: its characters) that occur `least` times or more, in order of code points, then the
    one that stands for all others.

    >>> alphabet_of("banana", least=2)
    ('a', 'n', '�')
    """
    found = set(symbols) if least == 1 else {s for s, n in Counter(symbols).items() if n >= least}
    return (*sorted(found - {UNKNOWN}), UNKNOWN)


def symbols_of(text: Sequence[str], alphabet: Sequence[str]) -> np.ndarray:
    """Numbers [L] of the symbols of `text` (a string: its characters), in the smallest of uint8, int16 and int32; a symbol that the
    alphabet has not is the last one.

    Raises `ValueError` for an alphabet that is not one.

    >>> symbols_of("cab!", "abc�")
    array([2, 0, 1, 3], dtype=uint8)
    """
    known = list(alphabet[:-1])
    if not len(alphabet) or alphabet[-1] != UNKNOWN or known != sorted(set(known)):
        raise ValueError(
            f"an alphabet has every symbol once, in order of code points, then {UNKNOWN}; received {''.join(alphabet)[:40]!r}"
        )
    kind = np.uint8 if len(alphabet) <= 2**8 else np.int16 if len(alphabet) <= 2**15 else np.int32
    if not isinstance(text, str) or any(len(symbol) > 1 for symbol in known):
        number = {symbol: k for k, symbol in enumerate(known)}
        return np.fromiter((number.get(symbol, len(known)) for symbol in text), kind, len(text))
    if not known:
        return np.zeros(len(text), kind)
    points = _code_points("".join(known))
    numbers = np.empty(len(text), kind)
    for first in range(0, len(text), AT_ONCE):
        given = _code_points(text[first : first + AT_ONCE])
        places = np.searchsorted(points, given)
        found = points[np.minimum(places, len(points) - 1)] == given
        numbers[first : first + AT_ONCE] = np.where(found, places, len(points))
    return numbers


def text_of(symbols: np.ndarray | Sequence[int], alphabet: Sequence[str]) -> str:
    """The text of these numbers [L].

    >>> text_of([2, 0, 1], "abc�")
    'cab'
    """
    return "".join(alphabet[int(number)] for number in symbols)


def in_alphabet(data: Dataset, alphabet: Sequence[str]) -> Dataset:
    """`data` with the numbers that its symbols have in another alphabet: what this one has not becomes �."""
    assert data.alphabet is not None
    if data.alphabet == tuple(alphabet):
        return data
    table = symbols_of(list(data.alphabet), alphabet)
    inputs, targets = (table[np.asarray(values)] for values in (data.inputs, data.targets))
    return replace(data, inputs=inputs, targets=targets, alphabet=tuple(alphabet))


def windows_of(symbols: np.ndarray, length: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """All of a text [n] but its first symbol as targets, each once: inputs and targets [N, L] of the whole windows, then those of the rest
    [1, < L], where there are some.

    >>> [(x.tolist(), y.tolist()) for x, y in windows_of(np.array([5, 6, 7, 8]), 2)]
    [([[5, 6]], [[6, 7]]), ([[7]], [[8]])]
    """
    whole = (len(symbols) - 1) // length
    end = whole * length
    found = [
        (symbols[:end].reshape(whole, length), symbols[1 : end + 1].reshape(whole, length)),
        (symbols[None, end:-1], symbols[None, end + 1 :]),
    ]
    return [(inputs, targets) for inputs, targets in found if targets.size]


def text_rows(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | np.ndarray,
    reading: Mapping[str, Any],
) -> np.ndarray:
    """Windows [N, L] of new texts (one path or several), one after the other, in the alphabet that `reading` records; or numbers of
    symbols [N, n] or [n] as they are.

    What is left of a text and makes no whole window is not among them (`hubel predict` answers it as well).

    Raises `ValueError` for numbers that the alphabet has not, and for texts shorter than a window, `FileNotFoundError` for a path that leads
    nowhere; and what `read_text` raises.
    """
    alphabet, length = reading["alphabet"], int(reading["shape"][0])
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    if not isinstance(source, np.ndarray):
        for path in source:
            _refuse_absent(path)
        rows = [windows_of(symbols_in(path, reading), length)[0][0] for path in source]
        if short := [str(p) for p, row in zip(source, rows, strict=True) if row.shape[1] != length]:
            raise ValueError(
                f"{short[0]} is shorter than a window of {length} symbols and the one after it: give a longer text, or its symbols "
                "as numbers [1, n]"
            )
        return np.concatenate(rows)
    if source.dtype.kind not in "iu" or source.ndim not in (1, 2):
        raise ValueError(f"received {list(source.shape)} {source.dtype}; expected numbers of symbols [N, L]")
    if source.size and not 0 <= int(source.min()) <= int(source.max()) < len(alphabet):
        raise ValueError(
            f"numbers of symbols run from {source.min()} to {source.max()}; the alphabet has 0 to {len(alphabet) - 1}"
        )
    return np.atleast_2d(source)


def symbols_in(path: str | os.PathLike[str], reading: Mapping[str, Any]) -> np.ndarray:
    """Numbers [n] of the symbols of a file, cut and counted as `reading` says.

    Raises `ValueError` where a function of the user's own cut the text, and `UnreadableData` for a file without two symbols.
    """
    if reading["tokens"] == "own":
        raise ValueError(
            "the text of this run was cut into symbols by a function of your own, which a folder does not hold: pass windows of "
            "hubel.data.from_text(text, tokens=...) to evaluate"
        )
    symbols = symbols_of(cut_text(read_text(path), reading["tokens"]), reading["alphabet"])
    if len(symbols) < 2:
        raise UnreadableData(
            f"{path} has {len(symbols)} symbols; expected at least 2, one to read and one to foretell"
        )
    return symbols


def _refuse_absent(path: str | os.PathLike[str]) -> None:
    """A text that was passed in place of its path is no path."""
    said = os.fspath(path)
    try:
        if Path(said).expanduser().exists():
            return
    except (OSError, ValueError):  # too long for a name, or with a character that no name has
        pass
    shown = repr(said if len(said) <= 60 else f"{said[:60]}…")
    raise FileNotFoundError(
        f"{shown} is no file. A text that is no file is given as the numbers of its symbols: "
        "hubel.data.symbols_of(text, run.objective.alphabet)"
    )


def _windows(
    pieces: Sequence[tuple[np.ndarray, np.ndarray]], length: int, kind: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets [N, L]: of each text the windows that begin at its `starts`."""
    num = sum(len(starts) for _, starts in pieces)
    inputs, targets = (room_for((num, length), kind) for _ in range(2))
    first = 0
    for symbols, starts in pieces:
        windows = np.lib.stride_tricks.sliding_window_view(symbols, length + 1)
        here = slice(first, first + len(starts))
        for rows in in_slices(inputs[here]):
            inputs[here][rows], targets[here][rows] = (
                windows[starts[rows], :-1],
                windows[starts[rows], 1:],
            )
        first += len(starts)
    return inputs, targets


def _together(texts: Sequence[Sequence[str]]) -> Sequence[str]:
    """All symbols in a row; a string where they are characters."""
    if len(texts) == 1:
        return texts[0]
    if all(isinstance(text, str) for text in texts):
        return "".join(texts)  # type: ignore[arg-type]
    return [symbol for text in texts for symbol in text]


def _as_words(places: np.ndarray) -> np.ndarray:
    """Places in a text [N] as words no wider than they are."""
    return places.astype(f"U{len(str(int(places.max())))}")


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _borders(num: int, validation: float, test: float) -> dict[str, tuple[int, int]]:
    """First symbol and end of each part that is wanted."""
    first, second = round(num * (1 - validation - test)), round(num * (1 - test))
    borders = {"train": (0, first)}
    if validation > 0:
        borders["validation"] = (first, second)
    if test > 0:
        borders["test"] = (second, num)
    return borders


def _begins(part: str, first: int, end: int, length: int, step: int) -> np.ndarray:
    """First symbols of the windows of a part, of which each needs one symbol more than its length."""
    begins = np.arange(first, end - length, step)
    if len(begins) == 0:
        remedy = "a smaller length" + (f", or {part}=0" if part in ("validation", "test") else "")
        raise ValueError(
            f"the {part} part has {end - first:,} symbols; expected at least {length + 1:,}, for one window of length={length} and the "
            f"symbol after it. Give more text, {remedy}"
        )
    return begins


def _notes(
    cut: Sequence[str],
    tokens: Tokens,
    alphabet: Sequence[str],
    symbols: np.ndarray,
    begins: dict[str, np.ndarray],
    added: int,
) -> tuple[str, ...]:
    what = tokens if isinstance(tokens, str) else "symbols"
    windows = ", ".join(f"{part} {len(found):,}" for part, found in begins.items())
    notes = [
        f"{len(cut):,} {what}, {len(alphabet) - 1:,} different ones in the training part; windows in order of the text: {windows}."
    ]
    if added:
        notes.append(f"{added:,} windows of variants of the training part are trained on as well.")
    if unknown := int((symbols == len(alphabet) - 1).sum()):
        strange = sorted(set(cut) - set(alphabet))
        shown = ("" if what == "characters" else ", ").join(strange[:20]) + (
            " …" if len(strange) > 20 else ""
        )
        notes.append(
            f"{unknown:,} {what}{f' ({shown})' if strange else ''} do not occur in the training part"
            f"{'' if what == 'characters' else ' often enough'}; they are read as {UNKNOWN}."
        )
    return tuple(notes)
