"""The embedded demo's patients: synthetic chest radiographs for four invented hospitals.

The public surface: `HOSPITALS`, one `Hospital` each, and `draw_hospital`, which writes a folder
of DICOM files with a ``labels.csv``. No patient, device or institution drawn here exists, and a
model trained on these pictures says nothing about people.
"""

from deploy.phantom.archive import PhantomAccount, draw_hospital
from deploy.phantom.hospitals import HOSPITALS, Hospital

__all__ = ["HOSPITALS", "Hospital", "PhantomAccount", "draw_hospital"]
