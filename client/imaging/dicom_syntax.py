"""Which transfer syntaxes are decoded, by which name, and with what (PS3.5 A, PS3.6 A).

Decides before anything is decoded whether this installation can. pydicom decodes what is not compressed,
deflated and RLE; GDCM the JPEG family, JPEG-LS and JPEG 2000; OpenJPEG JPEG 2000 with high throughput, too
(docs/adr/0019).
"""

from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from client.imaging.reasons import Reason, SetAside

NAMES = {
    ImplicitVRLittleEndian: "implicit_little_endian",
    ExplicitVRLittleEndian: "explicit_little_endian",
    ExplicitVRBigEndian: "explicit_big_endian",
    DeflatedExplicitVRLittleEndian: "deflated",
    RLELossless: "rle",
    JPEGBaseline8Bit: "jpeg_baseline",
    JPEGExtended12Bit: "jpeg_extended",
    JPEGLossless: "jpeg_lossless",
    JPEGLosslessSV1: "jpeg_lossless_sv1",
    JPEGLSLossless: "jpeg_ls_lossless",
    JPEGLSNearLossless: "jpeg_ls_near_lossless",
    JPEG2000Lossless: "jpeg_2000_lossless",
    JPEG2000: "jpeg_2000",
    HTJ2KLossless: "htj2k_lossless",
    HTJ2KLosslessRPCL: "htj2k_lossless_rpcl",
    HTJ2K: "htj2k",
}


def decodable(header: Dataset) -> str:
    """The name of a header's transfer syntax, if its pixels can be decoded here.

    Raises:
        SetAside: nothing here decodes it.
    """
    syntax = header.file_meta.TransferSyntaxUID
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 0)
    lossy_12_bit = syntax == JPEGExtended12Bit and bits > 8
    small_jpeg_ls = syntax in (JPEGLSLossless, JPEGLSNearLossless) and bits in (6, 7)  # GDCM's limit
    if syntax not in NAMES or lossy_12_bit or small_jpeg_ls or not get_decoder(syntax).is_available:
        raise SetAside(Reason.CODEC_MISSING)
    return NAMES[syntax]
