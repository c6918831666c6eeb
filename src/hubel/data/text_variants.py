"""Other ways to say a text, to be trained on as well: synonyms from a table, and a translation there and back.

Both need what only the user has (which words mean the same, a translator), and both are made of the training part alone:
`from_text(text, variants=lambda training: [synonyms(training, table)])`. Whether a variant is still true to the text is the user's to
say; nothing is replaced by default.

Source: X. Zhang, J. Zhao, Y. LeCun, "Character-level Convolutional Networks for Text Classification", NeurIPS 2015 (arXiv:1509.01626),
section 2.4 (synonyms); R. Sennrich, B. Haddow, A. Birch, "Improving Neural Machine Translation Models with Monolingual Data", ACL 2016
(arXiv:1511.06709; translation back).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from hubel.core.random import numpy_generator

WORD = re.compile(r"\w+")
PARAGRAPH = re.compile(r"\n\s*\n")


def synonyms(text: str, table: Mapping[str, Sequence[str]], *, share: float = 0.1, seed: int = 0) -> str:
    """`text` in which each word that is in `table` is replaced, with probability `share`, by one of its synonyms, all alike likely.

    Words of the table are lower-case; a word that begins with a capital, or is all capitals, keeps that.

    Raises `ValueError` for a share that is no probability, for a word without synonyms and for one that is not lower-case.

    >>> synonyms("Light bends. Light and glass.", {"light": ["radiance"]}, share=1.0)
    'Radiance bends. Radiance and glass.'
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; expected a probability from 0 to 1")
    if wrong := [
        word
        for word, others in table.items()
        if isinstance(others, str) or not others or word != word.lower()
    ]:
        raise ValueError(
            f"the table has {wrong[0]!r}: {table[wrong[0]]!r}; expected lower-case words, each with a list of one synonym or more"
        )
    generator = numpy_generator(seed, "synonyms")

    def replaced(match: re.Match[str]) -> str:
        word = match[0]
        others = table.get(word.lower())
        if others is None or generator.random() >= share:
            return word
        other = others[int(generator.integers(len(others)))]
        if len(word) > 1 and word.isupper():
            return other.upper()
        return other[:1].upper() + other[1:] if word[:1].isupper() else other

    return WORD.sub(replaced, text)


def translated_back(text: str, there: Callable[[str], str], back: Callable[[str], str]) -> str:
    r"""`text` translated by `there` into another language and by `back` into its own, paragraph by paragraph; what stands between
    paragraphs stays.

    Raises `TypeError` where a translator answers no text.

    >>> swap = {"light": "lumière", "lumière": "radiance"}.get
    >>> translated_back("light\n\nlight", swap, swap)
    'radiance\n\nradiance'
    """
    done, found = 0, []
    for gap in [*PARAGRAPH.finditer(text), None]:
        end = len(text) if gap is None else gap.start()
        passage = text[done:end]
        if passage.strip():
            for translate in (there, back):
                answer = translate(passage)
                if not isinstance(answer, str):
                    raise TypeError(
                        f"the translator answered {answer!r} to {passage[:60]!r}; expected a text"
                    )
                passage = answer
        found += [passage] if gap is None else [passage, gap[0]]
        done = end if gap is None else gap.end()
    return "".join(found)
