"""A finished study's model as a package that others can check and use: weights, card, page, and MONAI's bundle.

`export_model` is the way in; `shared/model_package.py` says what a package is.
"""

from server.export.card import Asked
from server.export.package import Exported, evidence_for, export_model, insist_on_final
from server.export.surveys import survey_for

__all__ = ["Asked", "Exported", "evidence_for", "export_model", "insist_on_final", "survey_for"]
