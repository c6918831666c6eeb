"""Synonyms from a table and translations there and back: what they replace, how often, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubel.data import synonyms, translated_back

TABLE = {"light": ["radiance", "glow"], "body": ["thing"]}


def test_words_of_the_table_and_no_others_keep_their_capitals():
    text = "Light, BODY and body; lightly light's Body."
    assert synonyms(text, {"light": ["glow"], "body": ["thing"]}, share=1.0) == (
        "Glow, THING and thing; lightly glow's Thing."
    )
    assert synonyms(text, TABLE, share=0.0) == text
    assert synonyms(text, {}, share=1.0) == text


def test_the_share_of_words_that_are_replaced():
    text = "light " * 4000
    words = synonyms(text, TABLE, share=0.3, seed=1).split()
    assert set(words) == {"light", "radiance", "glow"}
    replaced = [w != "light" for w in words]
    assert np.mean(replaced) == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 4000))
    glow = [w == "glow" for w in words if w != "light"]
    assert np.mean(glow) == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 1200))


def test_the_seed_decides():
    text = "light and body " * 50
    assert synonyms(text, TABLE, share=0.5, seed=3) == synonyms(text, TABLE, share=0.5, seed=3)
    assert synonyms(text, TABLE, share=0.5, seed=3) != synonyms(text, TABLE, share=0.5, seed=4)


@pytest.mark.parametrize(
    ("table", "share", "said"),
    [
        (TABLE, 1.5, "share is 1.5; expected a probability"),
        ({"Light": ["glow"]}, 0.1, "the table has 'Light'.*lower-case"),
        ({"light": "glow"}, 0.1, "'light': 'glow'; expected .* list of one synonym"),
        ({"light": []}, 0.1, "a list of one synonym or more"),
    ],
)
def test_tables_that_are_refused(table, share, said):
    with pytest.raises(ValueError, match=said):
        synonyms("light", table, share=share)


@given(text=st.text(st.sampled_from("ab \n.")))
def test_an_exact_translator_changes_nothing(text):
    assert translated_back(text, lambda s: s[::-1], lambda s: s[::-1]) == text


def test_paragraphs_are_translated_one_by_one():
    seen = []

    def there(passage):
        seen.append(passage)
        return passage.replace("light", "Licht")

    text = "\n\nthe light\nof light\n  \n\nlight\n"
    assert translated_back(text, there, lambda s: s.replace("Licht", "glow")) == (
        "\n\nthe glow\nof glow\n  \n\nglow\n"
    )
    assert seen == ["the light\nof light", "light\n"]
    with pytest.raises(TypeError, match="the translator answered None to 'the light"):
        translated_back("the light", lambda s: None, str)
