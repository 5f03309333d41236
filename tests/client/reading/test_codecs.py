"""Compressed pictures unpack to the image that the header announces, to nothing more, and nothing else."""

import resource
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import get_frame
from tests.client.dicom_files import RAMP, claim_syntax, file_bytes, image_dataset, write
from tests.client.reading.dicom_files import compressed, frames_of, read, refusal

from fed_client.reading import header
from fed_client.reading.codestream import announced_by_jpeg_2000
from fed_client.reading.rle import unpack
from fed_common.errors import UnreadableImageError

GREY = (np.add.outer(np.arange(40), np.arange(30)) * 50).astype(np.uint16)
COLOURS = np.stack([GREY // 16, GREY // 32, 255 - GREY // 16], axis=2).astype(np.uint8)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_uncompressed_syntaxes_say_the_same(tmp_path: Path, syntax: str) -> None:
    assert np.array_equal(read(tmp_path, image_dataset(), syntax).stored_HW, RAMP)


def test_big_endian_files_say_the_same(tmp_path: Path) -> None:
    dataset = image_dataset(PixelData=RAMP.astype(">u2").tobytes())
    assert np.array_equal(read(tmp_path, dataset, uid.ExplicitVRBigEndian).stored_HW, RAMP)


def test_uncompressed_pixels_are_not_copied(tmp_path: Path) -> None:
    stored_HW = read(tmp_path, image_dataset()).stored_HW
    assert not stored_HW.flags.owndata
    assert not stored_HW.flags.writeable


def test_run_length_encoded_files_say_the_same(tmp_path: Path) -> None:
    dataset = image_dataset()
    file_bytes(dataset)
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom")
    assert np.array_equal(read(tmp_path, dataset, uid.RLELossless).stored_HW, RAMP)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shades", [2, 40, 1 << 32], ids=["runs", "both", "literals"])
def test_run_lengths_are_unpacked_as_pydicom_does(dtype: type[np.unsignedinteger[Any]], shades: int) -> None:
    # More pixels than are unpacked at a time, so that runs and literals lie across the border.
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, shades, (211, 197)).astype(dtype)
    pixels[::3] = pixels[0, 0]
    dataset = compressed([], pixels)
    dataset.compress(uid.RLELossless, pixels, encoding_plugin="pydicom")
    encoded = get_frame(dataset.PixelData, 0, number_of_frames=1)
    unpacked = unpack(encoded, num_pixels=pixels.size, samples=1, sample_bytes=pixels.itemsize)
    assert np.array_equal(unpacked.reshape(pixels.shape), pixels)


# Source: https://openjpeg.org decodes both parts of JPEG 2000; ours for part 15 is OpenJPH.
@pytest.mark.parametrize("pixels", [GREY, COLOURS, GREY.astype(np.uint8)], ids=["grey", "colour", "8 bit"])
@pytest.mark.parametrize("syntax", [uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K])
def test_high_throughput_jpeg_2000_is_what_openjpeg_finds(
    tmp_path: Path, pixels: NDArray[np.uint16], syntax: str
) -> None:
    encoded = bytes(imagecodecs.htj2k_encode(pixels, reversible=True))
    photometric = "YBR_RCT" if pixels.ndim == 3 else "MONOCHROME2"
    ours = read(tmp_path, compressed([encoded], pixels, photometric=photometric), syntax).stored_HW
    with Image.open(BytesIO(encoded)) as theirs:
        assert np.array_equal(ours, np.asarray(theirs))
    assert np.array_equal(ours, pixels)


def test_lossy_high_throughput_jpeg_2000_is_what_openjpeg_finds(tmp_path: Path) -> None:
    encoded = bytes(imagecodecs.htj2k_encode(GREY, reversible=False, level=0.001))
    ours = read(tmp_path, compressed([encoded], GREY), uid.HTJ2K).stored_HW.astype(int)
    with Image.open(BytesIO(encoded)) as theirs:
        # Both round a wavelet of floating-point numbers.
        assert np.abs(ours - np.asarray(theirs).astype(int)).max() <= 1
    assert np.abs(ours - GREY).max() < 100


def test_few_bits_in_a_wide_sample_keep_their_value(tmp_path: Path) -> None:
    # The decoder gives bytes; 200 must not become -56 where 16 signed bits are stored.
    pixels = np.array([[0, 200]], dtype=np.uint8)
    encoded = bytes(imagecodecs.jpegls_encode(pixels))
    dataset = compressed([encoded], pixels.astype(np.int16))
    assert read(tmp_path, dataset, uid.JPEGLSLossless).stored_HW.tolist() == [[0, 200]]


@pytest.mark.parametrize("photometric", ["YBR_FULL", "RGB"])
def test_lossless_jpeg_colours_are_those_of_the_header(tmp_path: Path, photometric: str) -> None:
    encoded = bytes(imagecodecs.jpegls_encode(COLOURS))
    ours = read(tmp_path, compressed([encoded], COLOURS, photometric=photometric), uid.JPEGLSLossless)
    plain = read(tmp_path, image_dataset(COLOURS, photometric=photometric))
    assert np.array_equal(ours.stored_HW, plain.stored_HW)


ENCODERS: dict[str, Callable[[NDArray[np.uint16]], bytes | bytearray]] = {
    uid.JPEGLosslessSV1: lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=16),
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k"),
    uid.JPEG2000: lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="jp2"),
    uid.HTJ2KLossless: imagecodecs.htj2k_encode,
}


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_codestream_of_another_shape_than_the_header_is_refused(tmp_path: Path, syntax: str) -> None:
    encoded = bytes(ENCODERS[syntax](GREY))
    for rows, columns in ((41, 30), (40, 31)):
        dataset = compressed([encoded], GREY, Rows=rows, Columns=columns)
        refused = refusal(write(tmp_path / "image.dcm", dataset, uid.UID(syntax)))
        assert refused == "the compressed picture has another shape than the header says"


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_codestream_of_more_bits_than_the_header_is_refused(tmp_path: Path, syntax: str) -> None:
    dataset = compressed([bytes(ENCODERS[syntax](GREY))], GREY.astype(np.uint8))
    refused = refusal(write(tmp_path / "image.dcm", dataset, uid.UID(syntax)))
    assert refused == "the compressed picture has more bits than the header says"


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.95])
def test_a_codestream_that_is_cut_off_is_refused(tmp_path: Path, syntax: str, kept: float) -> None:
    # libjpeg would fill up the rest with grey, OpenJPH with what it likes.
    encoded = bytes(ENCODERS[syntax](GREY))
    dataset = compressed([encoded[: int(len(encoded) * kept)]], GREY)
    assert refusal(write(tmp_path / "image.dcm", dataset, uid.UID(syntax)))


def memory_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_jpeg_that_announces_gigabytes_is_not_decoded(tmp_path: Path) -> None:
    bomb = bytearray(imagecodecs.jpeg8_encode(COLOURS))
    at = bomb.index(b"\xff\xc0") + 5
    bomb[at : at + 4] = struct.pack(">2H", 65500, 65500)
    path = write(tmp_path / "image.dcm", compressed([bytes(bomb)], COLOURS), uid.JPEGBaseline8Bit)
    before = memory_kb()
    assert "another shape" in refusal(path)
    assert memory_kb() - before < 1 << 14


@pytest.mark.parametrize(
    ("tile", "corner", "reason"),
    [(1, 0, "at most 65535 tiles"), (0, 0, "must not be 0"), (9000, 1, "must cover its corner")],
)
def test_a_jpeg_2000_picture_of_impossible_tiles_is_not_decoded(tile: int, corner: int, reason: str) -> None:
    # OpenJPH 0.26 looks for the corner without an end.
    sizes = struct.pack(">2H8LH3B", 41, 0, 8000, 8000, 0, 0, tile, tile, 0, corner, 1, 7, 1, 1)
    with pytest.raises(UnreadableImageError, match=reason):
        announced_by_jpeg_2000(b"\xff\x4f\xff\x51" + sizes)


HIGH_THROUGHPUT = bytes(imagecodecs.htj2k_encode(GREY, reversible=True))
STEPS = HIGH_THROUGHPUT.index(b"\xff\x5c")


def changed(codestream: bytes, start: int, end: int, by: bytes) -> bytes:
    return codestream[:start] + by + codestream[end:]


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (changed(HIGH_THROUGHPUT, STEPS + 2, STEPS + 21, b"\0\4\x20\x40"), "a step for each subband"),
        (changed(HIGH_THROUGHPUT, STEPS + 17, STEPS + 18, b"\xff"), "at most 28 bits"),
    ],
)
def test_steps_that_crash_a_decoder_are_refused(tmp_path: Path, damaged: bytes, reason: str) -> None:
    # OpenJPH 0.26 ends with a violation of memory.
    path = write(tmp_path / "image.dcm", compressed([damaged], GREY), uid.HTJ2KLossless)
    assert reason in refusal(path)


def test_an_error_that_a_decoder_keeps_to_itself_is_heard(tmp_path: Path) -> None:
    # OpenJPH says that a code block is damaged, imagecodecs 2026.3 returns what memory held before.
    data = HIGH_THROUGHPUT.index(b"\xff\x93") + 2
    damaged = changed(HIGH_THROUGHPUT, data + 1, data + 2, b"\xff")
    path = write(tmp_path / "image.dcm", compressed([damaged], GREY), uid.HTJ2KLossless)
    assert refusal(path) == "the compressed picture is damaged"


@pytest.mark.parametrize(
    ("header_words", "reason"),
    [
        ([], "must begin with a header"),
        ([1, 64], "one segment for each byte"),
        ([2, 64, 66], "less than its share"),
        ([2, 70, 65], "must follow each other"),
        ([2, 64, 10**9], "must follow each other"),
        ([2, 0, 64], "must follow each other"),
    ],
)
def test_run_length_encoding_that_lies_is_refused(
    tmp_path: Path, header_words: list[int], reason: str
) -> None:
    words = header_words + [0] * (16 - len(header_words)) if header_words else []
    frame = np.array(words, dtype="<u4").tobytes() + b"\x01ab\x01cd"
    assert reason in refusal(write(tmp_path / "image.dcm", compressed([frame]), uid.RLELossless))


def test_a_run_length_bomb_is_unpacked_to_the_image_and_no_further(tmp_path: Path) -> None:
    run_of_128 = b"\x81\x00"
    segments = np.array([2, 64, 64 + (1 << 22), *[0] * 13], dtype="<u4").tobytes()
    bomb = compressed([segments + run_of_128 * (1 << 22)])  # 8 MB that stand for half a gigabyte
    before = memory_kb()
    assert not read(tmp_path, bomb, uid.RLELossless).stored_HW.any()
    assert memory_kb() - before < 1 << 17


def deflated(data: bytes) -> bytes:
    plain = file_bytes(image_dataset())
    meta = claim_syntax(plain[: plain.index(b"\x08\x00\x16\x00UI")], uid.DeflatedExplicitVRLittleEndian)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return meta + deflater.compress(data) + deflater.flush()


def test_deflated_files_say_the_same(tmp_path: Path) -> None:
    plain = file_bytes(image_dataset())
    path = tmp_path / "image.dcm"
    path.write_bytes(deflated(plain[plain.index(b"\x08\x00\x16\x00UI") :]))
    assert np.array_equal(frames_of(path)[0].stored_HW, RAMP)


def test_a_deflate_bomb_is_inflated_to_a_limit_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "MAX_INFLATED_BYTES", 1 << 20)
    path = tmp_path / "image.dcm"
    path.write_bytes(deflated(bytes(1 << 26)))
    before = memory_kb()
    assert "the deflated data set has more than" in refusal(path)
    assert memory_kb() - before < 1 << 13
