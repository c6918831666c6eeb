"""How well a network of text foretells other texts, file by file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data import Dataset
from hubel.data.text import symbols_in, windows_of
from hubel.fitting import Run


def predict_texts(run: Run, paths: Sequence[Path | str]) -> Iterator[dict[str, Any]]:
    """An answer a file: the number of its symbols and of those that the alphabet has not, bits per symbol, perplexity, accuracy.

    Every symbol but the first is foretold once, from those before it in its window: windows are as long as those of training, and each
    begins without memory. A file that can not be read is answered by `{"file", "unreadable": why}`.
    """
    for path in map(Path, paths):
        if path.is_dir():
            raise ValueError(f"{path} is a folder; name the texts in it ({path}/*.txt)")
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
    for path in paths:
        try:
            symbols = symbols_in(path, run.reading)
        except ValueError as error:
            yield {"file": str(path), "unreadable": str(error)}
            continue
        yield _answer(run, path, symbols)


def _answer(run: Run, path: Path | str, symbols: np.ndarray) -> dict[str, Any]:
    alphabet = tuple(run.reading["alphabet"])
    bits, right = [], []
    for inputs, targets in windows_of(symbols, run.scaling.shape[0]):
        part = Dataset(inputs=inputs, targets=targets, alphabet=alphabet, name=str(path))
        answers = run.answers(part)
        assert answers.surprisals is not None
        bits.append(answers.surprisals.ravel())
        right.append((answers.values == targets).ravel())
    mean = float(np.concatenate(bits).mean(dtype=np.float64))
    return {
        "file": str(path),
        "symbols": len(symbols),
        "unknown": int((symbols == len(alphabet) - 1).sum()),
        "bits_per_symbol": mean,
        "perplexity": float(np.exp2(mean)),
        "accuracy": float(np.concatenate(right).mean()),
    }
