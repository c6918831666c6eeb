"""Files written by Pillow, tifffile and astropy, and by a PNG writer of our own, come back value by value."""

import gzip
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hubel.core.errors import UnreadableData
from hubel.data import load
from hubel.data.images import GREY, RGB, RGBA, decode, look, strict_libraries

RNG = np.random.default_rng(0)


def pixels(*shape, dtype=np.uint8):
    if np.dtype(dtype).kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def check(path: Path, expected: np.ndarray, channels):
    values, names = decode(path)
    assert names == channels
    assert values.dtype == expected.dtype
    assert values.dtype.isnative
    assert np.array_equal(values, expected)
    header = look(path)
    assert (header.height, header.width) == expected.shape[1:]
    assert (header.channels, header.dtype) == (channels, expected.dtype.name)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_eight_bits(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    colour = pixels(7, 5, 3)
    Image.fromarray(colour).save(tmp_path / f"c.{suffix}", **options)
    check(tmp_path / f"c.{suffix}", np.moveaxis(colour, 2, 0), RGB)
    if suffix != "webp":
        grey = pixels(7, 5)
        Image.fromarray(grey).save(tmp_path / f"g.{suffix}")
        check(tmp_path / f"g.{suffix}", grey[None], GREY)


def test_transparency_and_palettes(tmp_path):
    rgba = pixels(6, 4, 4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    check(tmp_path / "a.png", np.moveaxis(rgba, 2, 0), RGBA)
    colours = pixels(4, 3)
    numbers = pixels(6, 4) % 4
    image = Image.fromarray(numbers)
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "p.png")
    check(tmp_path / "p.png", np.moveaxis(colours[numbers], 2, 0), RGB)
    image.save(tmp_path / "t.png", transparency=bytes([0, 255, 128, 255]))
    values, names = decode(tmp_path / "t.png")
    assert names == RGBA
    assert np.array_equal(values[3], np.array([0, 255, 128, 255])[numbers])


def test_grey_with_transparency(tmp_path):
    shown = pixels(6, 4, 2)
    Image.fromarray(shown, mode="LA").save(tmp_path / "a.png")
    check(tmp_path / "a.png", np.moveaxis(shown, 2, 0), ("grey", "alpha"))


def test_one_bit_is_spread(tmp_path):
    bits = pixels(6, 9) > 127
    Image.fromarray(bits).save(tmp_path / "b.png")
    check(tmp_path / "b.png", bits[None].astype(np.uint8) * 255, GREY)


def test_jpeg_equals_pillow(tmp_path):
    Image.fromarray(pixels(16, 24, 3)).save(tmp_path / "j.jpg")
    check(tmp_path / "j.jpg", np.moveaxis(np.asarray(Image.open(tmp_path / "j.jpg")), 2, 0), RGB)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_grey_tiff_and_png(tmp_path, dtype):
    deep = pixels(7, 5, dtype=dtype)
    Image.fromarray(deep).save(tmp_path / "d.tif")
    check(tmp_path / "d.tif", deep[None], GREY)
    if dtype == np.uint16:
        Image.fromarray(deep).save(tmp_path / "d.png")
        check(tmp_path / "d.png", deep[None], GREY)


def png_16_bit(values: np.ndarray, filtered: int) -> bytes:
    """A PNG writer for 16-bit [H, W, C], every row filtered in the same way (PNG specification, section 9)."""
    height, width, channels = values.shape
    raw = values.astype(">u2").tobytes()
    stride, step = width * channels * 2, channels * 2
    rows, above = [], bytes(stride)
    for start in range(0, len(raw), stride):
        row = raw[start : start + stride]
        left = bytes(step) + row[:-step]
        corner = bytes(step) + above[:-step]
        guess = {
            0: [0] * stride,
            1: left,
            2: above,
            3: [(a + b) // 2 for a, b in zip(left, above, strict=True)],
            4: [paeth(*abc) for abc in zip(left, above, corner, strict=True)],
        }[filtered]
        rows.append(bytes([filtered]) + bytes((v - g) % 256 for v, g in zip(row, guess, strict=True)))
        above = row
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks
    )


def paeth(a, b, c):
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


@pytest.mark.parametrize("filtered", range(5))
@pytest.mark.parametrize(("channels", "names"), [(3, RGB), (4, RGBA)])
def test_16_bit_colour_png_keeps_all_16_bits(tmp_path, channels, names, filtered):
    deep = pixels(6, 5, channels, dtype=np.uint16)
    (tmp_path / "c.png").write_bytes(png_16_bit(deep, filtered))
    check(tmp_path / "c.png", np.moveaxis(deep, 2, 0), names)


def test_16_bit_grey_with_transparency_is_refused(tmp_path):
    (tmp_path / "c.png").write_bytes(png_16_bit(pixels(3, 3, 2, dtype=np.uint16), 0))
    with pytest.raises(UnreadableData, match="without the alpha channel"):
        decode(tmp_path / "c.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_is_undone(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = np.zeros((16, 24), np.uint8)
    shown[:8, :8] = 255
    path = tmp_path / f"o.{suffix}"
    Image.fromarray(shown).save(path, exif=exif)
    undo = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.T,
        6: shown.T[:, ::-1],
        7: shown.T[::-1, ::-1],
        8: shown.T[::-1],
    }
    values, _ = decode(path)
    header = look(path)
    assert values.shape[1:] == undo[orientation].shape == (header.height, header.width)
    assert np.abs(values[0].astype(int) - undo[orientation]).max() <= 2  # JPEG


tifffile = pytest.importorskip("tifffile")


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
)
def test_tiff_of_many_channels_and_types(tmp_path, dtype):
    deep = pixels(5, 9, 8, dtype=dtype)
    names = tuple(f"channel {k + 1}" for k in range(5))
    tifffile.imwrite(tmp_path / "planar.tif", deep, photometric="minisblack", planarconfig="separate")
    check(tmp_path / "planar.tif", deep, names)
    tifffile.imwrite(tmp_path / "pages.tif", deep, photometric="minisblack")
    check(tmp_path / "pages.tif", deep, names)
    tifffile.imwrite(
        tmp_path / "contig.tif", np.moveaxis(deep, 0, 2), photometric="minisblack", planarconfig="contig"
    )
    check(tmp_path / "contig.tif", deep, names)


def test_tiff_big_endian_and_16_bit_colour(tmp_path):
    deep = pixels(9, 8, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "b.tif", deep, byteorder=">")
    check(tmp_path / "b.tif", deep[None], GREY)
    signed = pixels(9, 8, dtype=np.int16)
    tifffile.imwrite(tmp_path / "s.tif", signed, byteorder=">")
    check(tmp_path / "s.tif", signed[None], GREY)
    colour = pixels(9, 8, 3, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", colour, photometric="rgb")
    check(tmp_path / "c.tif", np.moveaxis(colour, 2, 0), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_tiff_that_tifffile_reads(tmp_path, orientation):
    signed = pixels(5, 8, dtype=np.int16)
    tifffile.imwrite(tmp_path / "s.tif", signed, extratags=[(274, "H", 1, orientation, True)])
    grey = np.abs(signed // 256).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "g.tif", tiffinfo={274: orientation})
    assert np.array_equal(np.abs(decode(tmp_path / "s.tif")[0] // 256), decode(tmp_path / "g.tif")[0])


def test_tiff_of_separate_pictures_is_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as tiff:
        tiff.write(pixels(9, 8, dtype=np.int16))
        tiff.write(pixels(4, 4, dtype=np.int16))
    with pytest.raises(UnreadableData, match="2 separate pictures"):
        decode(tmp_path / "m.tif")
    tifffile.imwrite(tmp_path / "h.tif", pixels(2, 3, 9, 8, dtype=np.uint16), imagej=True)
    with pytest.raises(UnreadableData, match="at most one axis of channels"):
        decode(tmp_path / "h.tif")


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"bigtiff": True}, {"byteorder": ">"}]
)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_truncated_tiff_of_many_pages_is_unreadable(tmp_path, options, share, capfd):
    deep = pixels(4, 64, 64, dtype=np.int16)
    tifffile.imwrite(tmp_path / "t.tif", deep, photometric="minisblack", **options)
    assert np.array_equal(decode(tmp_path / "t.tif")[0], deep)
    whole = (tmp_path / "t.tif").read_bytes()
    (tmp_path / "t.tif").write_bytes(whole[: int(share * len(whole))])
    with strict_libraries(), pytest.raises(UnreadableData):
        decode(tmp_path / "t.tif")
    assert capfd.readouterr().err == ""


fits = pytest.importorskip("astropy.io.fits")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64", "uint16", "uint32"])
def test_fits_equals_astropy(tmp_path, dtype):
    deep = pixels(3, 6, 7, dtype=dtype)
    fits.PrimaryHDU(deep).writeto(tmp_path / "c.fits")
    check(tmp_path / "c.fits", deep, ("channel 1", "channel 2", "channel 3"))
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(deep[0])]).writeto(tmp_path / "e.fits")
    check(tmp_path / "e.fits", deep[:1], GREY)


def test_of_several_fits_pictures_the_first_is_read_and_the_others_are_named(tmp_path):
    science, error = pixels(6, 7, dtype=np.int16), pixels(6, 7, dtype=np.float32)
    units = [fits.PrimaryHDU(), fits.ImageHDU(science, name="SCI"), fits.ImageHDU(error, name="ERR")]
    for name in ("e.fits", "e.fits.gz"):
        fits.HDUList(units).writeto(tmp_path / name)
        check(tmp_path / name, science[None], GREY)
        assert look(tmp_path / name).passed_over == "ERR 6 × 7"
    packed = fits.CompImageHDU(science, name="SCI", compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "e.fits.fz")
    check(tmp_path / "e.fits.fz", science[None], GREY)
    assert look(tmp_path / "e.fits.fz").passed_over == ""
    for label in ("a", "b"):
        (tmp_path / "sky" / label).mkdir(parents=True)
        fits.HDUList(units).writeto(tmp_path / "sky" / label / "e.fits")
    (note,) = load(tmp_path / "sky", cache=False).notes
    assert note.startswith(
        "2 files hold several pictures, of which the first was read; beside it a/e.fits has ERR 6 × 7"
    )


def test_pages_of_colour_pictures_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "c.tif", pixels(2, 9, 8, 3), photometric="rgb")
    with pytest.raises(UnreadableData, match="at most one axis of channels"):
        decode(tmp_path / "c.tif")
    first, second = (Image.fromarray(pixels(9, 8)) for _ in range(2))
    first.save(tmp_path / "p.tif", save_all=True, append_images=[second])
    values, names = decode(tmp_path / "p.tif")
    assert names == ("channel 1", "channel 2")
    assert np.array_equal(values, np.stack([np.asarray(first), np.asarray(second)]))


@pytest.mark.parametrize("suffix", ["fits", "fits.gz", "npy", "tif"])
def test_a_picture_that_promises_a_giant_is_refused(tmp_path, suffix):
    path = tmp_path / f"g.{suffix}"
    if suffix == "npy":
        text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4000000, 9000000)}"
        text += b" " * (-(len(text) + 11) % 64) + b"\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64))
    elif suffix == "tif":
        tifffile.imwrite(path, pixels(4, 4, dtype=np.int16))
        content = path.read_bytes()
        for tag in (256, 257):
            place = (
                content.index(struct.pack("<HHI", tag, 3, 1))
                if struct.pack("<HHI", tag, 3, 1) in content
                else content.index(struct.pack("<HHI", tag, 4, 1))
            )
            content = content[:place] + struct.pack("<HHII", tag, 4, 1, 9_000_000) + content[place + 12 :]
        path.write_bytes(content)
    else:
        cards = [
            "SIMPLE  =                    T",
            "BITPIX  =                  -64",
            "NAXIS   =                    2",
        ]
        cards += [f"NAXIS1  = {9_000_000:20d}", f"NAXIS2  = {4_000_000:20d}", "END"]
        content = "".join(card.ljust(80) for card in cards).ljust(2880).encode() + bytes(2880)
        path.write_bytes(gzip.compress(content) if suffix == "fits.gz" else content)
    with (
        strict_libraries(),
        pytest.raises(UnreadableData, match=r"decompression bomb|can not be read|promises more"),
    ):
        decode(path)


def test_pictures_without_pixels_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 5), np.uint8))
    fits.PrimaryHDU(np.zeros((0, 5), np.int16)).writeto(tmp_path / "a.fits")
    for name in ("a.npy", "a.fits"):
        with pytest.raises(UnreadableData, match=r"empty|length 0|no HDU with a picture|can not be read"):
            decode(tmp_path / name)


def test_fits_scaling_is_astropys(tmp_path):
    unit = fits.PrimaryHDU(pixels(6, 7, dtype=np.int16))
    unit.header["BSCALE"], unit.header["BZERO"] = 0.25, 100.0
    unit.writeto(tmp_path / "s.fits", output_verify="ignore")
    raw = fits.getdata(tmp_path / "s.fits")
    check(tmp_path / "s.fits", np.asarray(raw)[None].astype(raw.dtype.newbyteorder("=")), GREY)
    assert raw.dtype.kind == "f"


def test_arrays_as_pictures(tmp_path):
    deep = pixels(12, 14, 5, dtype=np.float32)
    np.save(tmp_path / "a.npy", deep)
    check(tmp_path / "a.npy", np.moveaxis(deep, 2, 0), tuple(f"channel {k + 1}" for k in range(5)))
    np.save(tmp_path / "o.npy", np.array([1, "a"], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableData, match="holds Python objects, which are not unpickled"):
        decode(tmp_path / "o.npy")


def test_refusals_say_what_to_do(tmp_path):
    frames = [Image.fromarray(pixels(4, 4)) for _ in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableData, match="animation of 3 frames"):
        look(tmp_path / "a.gif")
    Image.new("CMYK", (4, 4)).save(tmp_path / "c.jpg")
    with pytest.raises(UnreadableData, match=r"CMYK.*convert it to RGB"):
        decode(tmp_path / "c.jpg")
    Image.new("LAB", (4, 4)).save(tmp_path / "l.tif")
    with pytest.raises(UnreadableData, match=r"of kind LAB|of kind CIELAB"):
        decode(tmp_path / "l.tif")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, suffix):
    Image.new("L", (40, 40)).save(tmp_path / f"b.{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with strict_libraries(), pytest.raises(UnreadableData, match="decompression bomb"):
        look(tmp_path / f"b.{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with strict_libraries(), pytest.raises(UnreadableData, match="decompression bomb"):
        decode(tmp_path / f"b.{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
        assert decode(tmp_path / f"b.{suffix}")[0].shape == (1, 40, 40)


def test_a_large_tiff_that_tifffile_reads_is_refused_too(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((2, 50, 50), np.int16), photometric="minisblack")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with strict_libraries(), pytest.raises(UnreadableData, match="decompression bomb"):
        look(tmp_path / "b.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "fits", "npy"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_truncated_files_are_unreadable(tmp_path, suffix, share):
    path = tmp_path / f"t.{suffix}"
    if suffix == "fits":
        fits.PrimaryHDU(pixels(64, 64)).writeto(path)
    elif suffix == "npy":
        np.save(path, pixels(64, 64))
    else:
        Image.fromarray(pixels(64, 64)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with strict_libraries(), pytest.raises(UnreadableData):
        decode(path)
