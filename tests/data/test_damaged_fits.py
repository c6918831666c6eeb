"""FITS files that were changed on the way."""

import itertools

import numpy as np
import pytest

from hubel.core.errors import UnreadableData
from hubel.data import load
from hubel.data.images import MOST_HDUS, bounded

fits = pytest.importorskip("astropy.io.fits")


def test_a_file_without_an_end_is_given_up():
    with pytest.raises(ValueError, match="more than 2,000 HDUs"):
        list(bounded(itertools.count()))
    assert len(list(bounded(range(MOST_HDUS)))) == MOST_HDUS


def test_a_card_that_can_not_be_parsed(tmp_path):
    pictures = np.zeros((6, 5, 4), np.int16)
    labels = fits.Column(name="label", format="J", array=np.arange(6) % 2)
    units = [fits.PrimaryHDU(), fits.ImageHDU(pictures), fits.BinTableHDU.from_columns([labels])]
    fits.HDUList(units).writeto(tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "b.fits").write_bytes(content.replace(b"TTYPE1  = 'label", b"TTYPE1  = !labe'", 1))
    assert len(load(tmp_path / "a.fits")) == 6
    with pytest.raises(UnreadableData, match=r"b\.fits can not be read as FITS"):
        load(tmp_path / "b.fits")
