"""A predicted mask as a NIfTI file lies where its volume lies, by either form of the header."""

import gzip

import nibabel
import numpy as np
import pytest

from client.imaging.nifti_mask import nifti_mask

SCANNER = np.array([[0.0, -2.0, 0.0, 10.0], [1.5, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
ALIGNED = np.array([[0.1, -2.1, 0.0, 3.0], [1.4, 0.2, 0.0, -7.0], [0.0, 0.1, 3.2, 1.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_both_forms_are_the_volumes_own(kind: type) -> None:
    volume = kind(np.arange(24, dtype=np.int16).reshape(2, 3, 4), ALIGNED)
    volume.set_qform(SCANNER, code="scanner")
    volume.set_sform(ALIGNED, code="mni")
    volume.header.set_xyzt_units("micron", "sec")
    masks = np.ones((4, 2, 3), np.uint8)  # upright: the volume's first axis runs to the front
    found = kind.from_bytes(gzip.decompress(nifti_mask(volume.to_bytes(), masks, words="research")))
    assert found.shape == volume.shape
    for form, affine, code in ((found.get_qform, SCANNER, 1), (found.get_sform, ALIGNED, 4)):
        there, said = form(coded=True)
        assert said == code
        np.testing.assert_allclose(there, affine, atol=1e-5)
    np.testing.assert_array_equal(found.header["pixdim"][:4], volume.header["pixdim"][:4])
    assert found.header.get_xyzt_units() == ("micron", "sec")
