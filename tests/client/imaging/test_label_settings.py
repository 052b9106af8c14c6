"""The `[labels]` table of site.toml."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from client.imaging.label_settings import LabelSettings
from client.imaging.settings import DataSettings
from client.settings import AboutSite, SiteSettings, load_settings, write_settings


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"words": {"": "x"}}, "at least 1 character"),
        ({"words": {"Herd": "mass", " HERD": "negative"}}, "words names herd more than once"),
        ({"columns": {"Nr": "file", "nr": "patient"}}, "columns names nr more than once"),
        ({"columns": {"Befund": "label", "Diagnose": "Label"}}, "several columns label"),
        ({"encoding": "klingon"}, "utf-8"),
        ({"label_map": {}}, "Extra inputs"),
    ],
)
def test_what_contradicts_itself_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LabelSettings.model_validate(table)


def test_a_dictionary_is_written_as_it_is_read(tmp_path: Path) -> None:
    labels = LabelSettings(columns={"Befund (kurz)": "label"}, words={"o. B.": "negative", "J18.9": "pneumonia"})
    about, data = AboutSite(name="ward-a"), DataSettings(kind="npz", file=Path("images.npz"))
    settings = SiteSettings(site=about, data=data, labels=labels)
    assert write_settings(tmp_path / "site.toml", settings)
    assert load_settings(tmp_path / "site.toml") == settings
