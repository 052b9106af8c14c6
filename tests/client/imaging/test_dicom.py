"""DICOM files of every kind that a hospital sends."""

import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from client.imaging.dicom import Dicom
from client.imaging.form import MAX_FILE_BYTES
from client.imaging.reasons import Reason, SetAside

Encode = Callable[..., bytes]
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8)
FULL_RANGE = {"WindowCenter": 32, "WindowWidth": 64}  # 0..63 to 0..65535


def _pixels(data: bytes, frame: int = 0) -> np.ndarray:
    (pixels,) = Dicom().pixels(data, [frame])
    return pixels


def _reason(data: bytes) -> Reason:
    with pytest.raises(SetAside) as caught:
        Dicom().facts(data)
    return caught.value.reason


def test_facts_of_a_file(dicom_bytes: Encode) -> None:
    data = dicom_bytes()
    facts, header = Dicom().facts(data), dcmread(BytesIO(data))
    assert (facts.patient, facts.accession) == ("P-1", "A-1")
    assert (facts.exam, facts.series) == (header.StudyInstanceUID, header.SeriesInstanceUID)
    assert facts.instance == header.SOPInstanceUID


def test_a_file_without_identifiers_has_empty_facts(dicom_bytes: Encode) -> None:
    facts = Dicom().facts(dicom_bytes(PatientID="", AccessionNumber=None))
    assert (facts.patient, facts.accession) == ("", "")


def test_the_window_spans_the_range(dicom_bytes: Encode) -> None:
    pixels = _pixels(dicom_bytes(RAMP, **FULL_RANGE))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, np.rint(RAMP / 63 * 65535))


def test_monochrome1_is_inverted(dicom_bytes: Encode) -> None:
    data = dicom_bytes(RAMP, PhotometricInterpretation="MONOCHROME1", **FULL_RANGE)
    np.testing.assert_array_equal(_pixels(data), np.rint((63.0 - RAMP) / 63 * 65535))


def test_the_first_of_several_windows_is_used(dicom_bytes: Encode) -> None:
    data = dicom_bytes(RAMP, WindowCenter=[32, 5], WindowWidth=[64, 2])
    np.testing.assert_array_equal(_pixels(data), _pixels(dicom_bytes(RAMP, **FULL_RANGE)))


def test_the_window_counts_in_rescaled_values(dicom_bytes: Encode) -> None:
    data = dicom_bytes(RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=-936.5, WindowWidth=127)
    np.testing.assert_array_equal(_pixels(data)[[0, -1], [0, -1]], [0, 65535])


@pytest.mark.parametrize("width", [0, -3, None])
def test_without_a_usable_window_the_percentiles_span_the_range(dicom_bytes: Encode, width: int | None) -> None:
    elements = {} if width is None else {"WindowCenter": 32, "WindowWidth": width}
    pixels = _pixels(dicom_bytes(RAMP, **elements))
    assert (pixels.min(), pixels.max()) == (0, 65535)
    assert (np.diff(pixels.ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_move_the_range(dicom_bytes: Encode, photometric: str) -> None:
    stored = RAMP.astype(np.int16)
    stored[0] = -2000
    padded = dicom_bytes(stored, PixelPaddingValue=-2000, PhotometricInterpretation=photometric)
    pixels = _pixels(padded)
    assert (pixels[0] == 0).all()
    assert pixels[1:].max() == 65535
    assert len(np.unique(pixels[1:])) > 40


def test_a_range_of_padding(dicom_bytes: Encode) -> None:
    data = dicom_bytes(RAMP, PixelPaddingValue=56, PixelPaddingRangeLimit=63)
    pixels = _pixels(data)
    assert (pixels[-1] == 0).all()
    assert pixels[-2].max() == 65535


def test_a_signed_padding_value_written_unsigned(make_dicom: Callable[..., Dataset]) -> None:
    stored = RAMP.astype(np.int16)
    stored[0] = -2000
    dataset = make_dicom(stored)
    dataset.add_new(0x00280120, "US", 65536 - 2000)
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    assert (_pixels(stream.getvalue())[0] == 0).all()


def test_signed_twelve_bits(dicom_bytes: Encode) -> None:
    stored = (RAMP.astype(np.int16) - 32) & 0x0FFF  # negative values without their sign bits above bit 11
    data = dicom_bytes(
        stored.astype(np.int16), BitsStored=12, HighBit=11, WindowCenter=0, WindowWidth=64, PixelRepresentation=1
    )
    np.testing.assert_array_equal(_pixels(data), np.rint(RAMP / 63 * 65535))


def test_overlays_above_the_stored_bits_are_ignored(dicom_bytes: Encode) -> None:
    data = dicom_bytes(RAMP | 0x8000, BitsStored=12, HighBit=11, **FULL_RANGE)
    np.testing.assert_array_equal(_pixels(data), np.rint(RAMP / 63 * 65535))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int8, np.int32])
def test_bit_depths(dicom_bytes: Encode, dtype: type) -> None:
    pixels = _pixels(dicom_bytes(RAMP.astype(dtype), **FULL_RANGE))
    np.testing.assert_array_equal(pixels, np.rint(RAMP / 63 * 65535))


def _lut(values: list[int], first: int, bits: int) -> Dataset:
    lut = Dataset()
    lut.add_new(0x00283002, "US", [len(values), first, bits])
    lut.add_new(0x00283006, "US", values)
    return lut


def test_a_voi_lut_wins_over_a_window(dicom_bytes: Encode) -> None:
    lut = _lut([1023 - 16 * n for n in range(64)], first=0, bits=10)
    pixels = _pixels(dicom_bytes(RAMP, VOILUTSequence=[lut], WindowCenter=1, WindowWidth=2))
    np.testing.assert_array_equal(pixels, np.rint((1023 - 16.0 * RAMP) / 1023 * 65535))


def test_a_modality_lut(dicom_bytes: Encode) -> None:
    lut = _lut([63 - n for n in range(64)], first=0, bits=16)
    lut.ModalityLUTType = "US"
    pixels = _pixels(dicom_bytes(RAMP, ModalityLUTSequence=[lut], **FULL_RANGE))
    np.testing.assert_array_equal(pixels, np.rint((63.0 - RAMP) / 63 * 65535))


def test_a_flat_image_is_black(dicom_bytes: Encode) -> None:
    assert not _pixels(dicom_bytes(np.full((4, 4), 9, dtype=np.uint16))).any()


def test_colour(dicom_bytes: Encode) -> None:
    stored = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    np.testing.assert_array_equal(_pixels(dicom_bytes(stored)), stored.astype(np.uint16) * 257)


def test_ybr_becomes_rgb(dicom_bytes: Encode) -> None:
    stored = np.full((4, 4, 3), (100, 128, 128), dtype=np.uint8)
    found = _pixels(dicom_bytes(stored, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_array_equal(found, np.full((4, 4, 3), 100 * 257))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_syntaxes(dicom_bytes: Encode, syntax: str) -> None:
    data = dicom_bytes(RAMP, syntax=syntax, **FULL_RANGE)
    assert Dicom().facts(data).patient == "P-1"
    np.testing.assert_array_equal(_pixels(data), np.rint(RAMP / 63 * 65535))


def test_big_endian(dicom_bytes: Encode) -> None:
    data = dicom_bytes(RAMP.byteswap(), syntax=ExplicitVRBigEndian, **FULL_RANGE)
    np.testing.assert_array_equal(_pixels(data), np.rint(RAMP / 63 * 65535))


def test_rle(make_dicom: Callable[..., Dataset]) -> None:
    dataset = make_dicom(RAMP, **FULL_RANGE)
    dataset.compress(RLELossless)
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    Dicom().facts(stream.getvalue())
    np.testing.assert_array_equal(_pixels(stream.getvalue()), np.rint(RAMP / 63 * 65535))


def test_what_is_set_aside_from_the_header(dicom_bytes: Encode, make_dicom: Callable[..., Dataset]) -> None:
    assert _reason(b"") is Reason.NOT_AN_IMAGE
    assert _reason(b"\x89PNG" + bytes(200)) is Reason.NOT_AN_IMAGE
    assert _reason(dicom_bytes(PixelData=None)) is Reason.NO_PIXELS
    assert _reason(dicom_bytes(NumberOfFrames=5000)) is Reason.TOO_LARGE
    assert _reason(dicom_bytes(PhotometricInterpretation="HSV")) is Reason.COLOUR_UNKNOWN
    assert _reason(dicom_bytes(SamplesPerPixel=3)) is Reason.COLOUR_UNKNOWN
    assert _reason(dicom_bytes(Rows=60000, Columns=60000)) is Reason.TOO_LARGE


@pytest.mark.parametrize(("syntax", "bits"), [(MPEG2MPML, 8), (JPEGExtended12Bit, 12), (JPEGLSLossless, 7)])
def test_a_codec_that_nothing_here_has_is_set_aside_before_decoding(
    dicom_bytes: Encode, syntax: str, bits: int
) -> None:
    data = dicom_bytes(syntax=syntax, BitsStored=bits, PixelData=encapsulate([b"\0\0"]))
    assert _reason(data) is Reason.CODEC_MISSING


def test_a_deflated_bomb_is_not_inflated(dicom_bytes: Encode) -> None:
    data = dicom_bytes(syntax=DeflatedExplicitVRLittleEndian)
    start = 132 + 12 + dcmread(BytesIO(data)).file_meta.FileMetaInformationGroupLength
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflater.compress(bytes(2**22)) + deflater.flush(zlib.Z_FULL_FLUSH)  # may be repeated as it is
    assert _reason(data[:start] + block * (MAX_FILE_BYTES // 2**22 + 2)) is Reason.TOO_LARGE


@pytest.mark.parametrize("tag", [b"\x02\x00\x00\x00UL\x00\x00", bytes(8), b"\x08\x00\x01\x00SH\x00\x00"])
def test_elements_without_end_are_not_read(dicom_bytes: Encode, tag: bytes) -> None:
    data = dicom_bytes()
    start = 132 + 12 + dcmread(BytesIO(data)).file_meta.FileMetaInformationGroupLength
    assert _reason(data[:start] + tag * 2**17 + data[start:]) is Reason.TOO_LARGE
    assert _pixels(data + tag * 2**17).shape == (8, 8)  # what follows the pixels is not read


def test_not_finite_values_are_set_aside(dicom_bytes: Encode) -> None:
    values = np.ones((8, 8), dtype=np.float32)
    values[0, 0] = np.nan
    data = dicom_bytes(RAMP.astype(np.uint32), PixelData=None, FloatPixelData=values.tobytes())
    with pytest.raises(SetAside) as caught:
        _pixels(data)
    assert caught.value.reason is Reason.UNREADABLE


def test_truncated_pixels_raise(dicom_bytes: Encode) -> None:
    data = dicom_bytes()[:-20]
    with pytest.raises(Exception, match=r"length|bytes|pixel"):
        _pixels(data)


def test_pydicom_keeps_its_default_strictness() -> None:
    assert config.settings.reading_validation_mode != config.IGNORE


def test_sigmoid(dicom_bytes: Encode) -> None:
    pixels = _pixels(dicom_bytes(RAMP, VOILUTFunction="SIGMOID", WindowCenter=32, WindowWidth=16))
    np.testing.assert_array_equal(pixels, np.rint(65535 / (1 + np.exp(-4 * (RAMP.astype(float) - 32) / 16))))


def test_a_palette(dicom_bytes: Encode) -> None:
    elements: dict[str, object] = {}
    for number, colour in enumerate(("Red", "Green", "Blue")):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [64, 0, 16]
        table = (np.arange(64, dtype="<u2") * 1000 + number).tobytes()
        elements[f"{colour}PaletteColorLookupTableData"] = table
    data = dicom_bytes(RAMP, PhotometricInterpretation="PALETTE COLOR", **elements)
    expected = np.stack([RAMP * 1000 + number for number in range(3)], axis=-1)
    np.testing.assert_array_equal(_pixels(data), expected)


@pytest.mark.parametrize("cut", [128, 132])
def test_a_missing_preamble(dicom_bytes: Encode, cut: int) -> None:
    whole = dicom_bytes(RAMP, **FULL_RANGE)
    data = whole[132:] if cut == 132 else whole
    assert Dicom().facts(data).patient == "P-1"
    np.testing.assert_array_equal(_pixels(data), _pixels(whole))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_missing_file_meta_information(make_dicom: Callable[..., Dataset], syntax: str) -> None:
    stored = RAMP.byteswap() if syntax == ExplicitVRBigEndian else RAMP
    dataset = make_dicom(stored, **FULL_RANGE)
    del dataset.file_meta
    stream = BytesIO()
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dataset.save_as(stream, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    assert Dicom().facts(stream.getvalue()).frames == 1
    np.testing.assert_array_equal(_pixels(stream.getvalue()), np.rint(RAMP / 63 * 65535))


def test_frames_have_the_words_of_their_own_group(dicom_bytes: Encode) -> None:
    def group(slope: float, center: float, width: float) -> Dataset:
        rescale, window, found = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, 0
        window.WindowCenter, window.WindowWidth = center, width
        found.PixelValueTransformationSequence, found.FrameVOILUTSequence = [rescale], [window]
        return found

    stack = np.stack([RAMP, RAMP[::-1]])
    data = dicom_bytes(
        RAMP,
        PixelData=stack.tobytes(),
        NumberOfFrames=2,
        SharedFunctionalGroupsSequence=[group(1, 32, 64)],
        PerFrameFunctionalGroupsSequence=[Dataset(), group(10, 315.5, 631)],
    )
    assert Dicom().facts(data).frames == 2
    second, first = Dicom().pixels(data, [1, 0])
    np.testing.assert_array_equal(first, np.rint(RAMP / 63 * 65535))
    np.testing.assert_array_equal(second, first[::-1])


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        ("693_J2KR", "693_UNCR"),
        ("US1_J2KR", "US1_UNCR"),
        ("emri_small_jpeg_ls_lossless", "emri_small"),
        ("emri_small_RLE", "emri_small"),
        ("emri_small_big_endian", "emri_small"),
        ("OBXXXX1A_rle", "OBXXXX1A"),
    ],
)
def test_a_lossless_codec_gives_what_the_plain_file_holds(shared_data: Path, packed: str, plain: str) -> None:
    folder = shared_data / "dicom" / "pydicom_data"
    frames = range(Dicom().facts((folder / f"{plain}.dcm").read_bytes()).frames)
    one, other = (Dicom().pixels((folder / f"{name}.dcm").read_bytes(), frames) for name in (packed, plain))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)
