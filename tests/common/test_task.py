"""A task is the same task for everybody, or a refusal that names the mistake."""

from dataclasses import replace
from pathlib import Path

import pytest

from fed_common.errors import ConfigError
from fed_common.task import ClassCodes, Recipe, Task, load_task

PLAIN = 'name = "play"\nclasses = ["healthy", "sick"]\npositive = "sick"\n'
FULL = """
name = "chest"
classes = ["normal", "pneumonia"]
positive = "pneumonia"
model = "resnet-18"
multi_label = true
modalities = ["DX", "CR"]
views = ["PA", "AP"]

[recipe]
size = 64
channels = 3
intensity = "window"
window_name = "LUNG"
crop = 0.9
frames = "middle"

[codes]
pneumonia = ["SCT:233604007", "I10:J18.9"]
normal = ["SCT:281900007"]
"""


def load(folder: Path, text: str) -> Task:
    (folder / "task.toml").write_text(text, encoding="utf-8")
    return load_task(folder / "task.toml")


def test_a_short_file_is_filled_up_with_what_needs_no_decision(tmp_path: Path) -> None:
    task = load(tmp_path, PLAIN)
    assert task == Task(name="play", classes=("healthy", "sick"), positive="sick", recipe=Recipe())
    assert task.positive_index == 1


def test_every_key_arrives(tmp_path: Path) -> None:
    assert load(tmp_path, FULL) == Task(
        name="chest",
        classes=("normal", "pneumonia"),
        positive="pneumonia",
        model="resnet-18",
        multi_label=True,
        modalities=("CR", "DX"),
        views=("AP", "PA"),
        recipe=Recipe(size=64, channels=3, intensity="window", window_name="LUNG", crop=0.9, frames="middle"),
        codes=(
            ClassCodes(name="normal", codes=("SCT:281900007",)),
            ClassCodes(name="pneumonia", codes=("I10:J18.9", "SCT:233604007")),
        ),
    )


def test_a_fixed_window_is_in_real_units(tmp_path: Path) -> None:
    fixed = '[recipe]\nintensity = "fixed"\nwindow_centre = -600\nwindow_width = 1500\n'
    recipe = load(tmp_path, PLAIN + fixed).recipe
    assert (recipe.window_centre, recipe.window_width) == (-600.0, 1500.0)


REFUSED = {
    "empty name": (PLAIN.replace("play", ""), "name: must be 1 to 64"),
    "one class": (PLAIN.replace('"healthy", ', ""), "classes: .*at least 2"),
    "65 classes": (PLAIN.replace('"healthy"', ", ".join(f'"c{n}"' for n in range(64))), "at most 64"),
    "empty class": (PLAIN.replace("healthy", ""), "classes.0: must be 1 to 64"),
    "class of blanks": (PLAIN.replace("healthy", "  "), "classes.0: must be 1 to 64"),
    "class with an end of line": (PLAIN.replace("healthy", "a\\nb"), "classes.0: must be 1 to 64"),
    "class with the separator": (PLAIN.replace("healthy", "a;b"), "classes.0: must be 1 to 64"),
    "class that is a formula": (PLAIN.replace("healthy", "=1"), "classes.0: must be 1 to 64"),
    "class too long": (PLAIN.replace("healthy", "a" * 65), "classes.0: must be 1 to 64"),
    "same class twice": (PLAIN.replace("healthy", "sick"), "classes must differ"),
    "unknown positive": (PLAIN.replace('= "sick"', '= "ill"'), "positive must be one of healthy, sick"),
    "no positive": (PLAIN.replace('positive = "sick"\n', ""), "positive is missing"),
    "unknown key": (PLAIN + 'view = ["PA"]', "did you mean 'views'"),
    "modality in prose": (PLAIN + 'modalities = ["x-ray"]', "modalities.0: must be one of DICOM's terms"),
    "empty view": (PLAIN + 'views = [""]', "views.0: must be one of DICOM's terms"),
    "same view twice": (PLAIN + 'views = ["PA", "PA"]', "views must differ"),
    "same modality twice": (PLAIN + 'modalities = ["CR", "CR"]', "modalities must differ"),
    "yes for a boolean": (PLAIN + 'multi_label = "yes"', "multi_label: .*valid boolean"),
    "unknown network": (PLAIN + 'model = "resnet-50"', "model: .*'seed-cnn'"),
    "tiny": (PLAIN + "[recipe]\nsize = 15", "recipe.size: .*16, got 15"),
    "huge": (PLAIN + "[recipe]\nsize = 1025", "recipe.size: .*1024, got 1025"),
    "2 channels": (PLAIN + "[recipe]\nchannels = 2", "recipe.channels: .*1 or 3"),
    "unknown intensity": (PLAIN + '[recipe]\nintensity = "auto"', "recipe.intensity: .*'fixed'"),
    "unknown frames": (PLAIN + '[recipe]\nframes = "last"', "recipe.frames: .*'middle'"),
    "no crop": (PLAIN + "[recipe]\ncrop = 0", "recipe.crop: .*greater than 0"),
    "crop above 1": (PLAIN + "[recipe]\ncrop = 1.1", "recipe.crop: .*less than or equal to 1"),
    "fixed without a window": (PLAIN + '[recipe]\nintensity = "fixed"', "needs window_centre and window_w"),
    "fixed without a width": (
        PLAIN + '[recipe]\nintensity = "fixed"\nwindow_centre = 40',
        "needs window_centre and window_width",
    ),
    "window without fixed": (PLAIN + "[recipe]\nwindow_centre = 40", "need intensity = 'fixed'"),
    "negative width": (
        PLAIN + '[recipe]\nintensity = "fixed"\nwindow_centre = 0\nwindow_width = -1',
        "recipe.window_width: .*greater than 0",
    ),
    "centre not a number": (
        PLAIN + '[recipe]\nintensity = "fixed"\nwindow_centre = nan\nwindow_width = 1',
        "recipe.window_centre",
    ),
    "name of a window that isn't used": (
        PLAIN + '[recipe]\nintensity = "percentile"\nwindow_name = "LUNG"',
        "window_name needs intensity = 'window'",
    ),
    "name of a window too long": (
        PLAIN + f'[recipe]\nwindow_name = "{"x" * 65}"',
        "recipe.window_name: .*64 characters",
    ),
    "code without a scheme": (PLAIN + '[codes]\nsick = ["233604007"]', "codes.sick.0: must be SCHEME:VALUE"),
    "code of an unknown class": (PLAIN + '[codes]\nill = ["SCT:1"]', "codes must be of the classes"),
    "class without its codes": (PLAIN + "[codes]\nsick = []", "codes.sick: .*at least 1"),
    "code of two classes": (
        PLAIN + '[codes]\nsick = ["SCT:1"]\nhealthy = ["SCT:1"]',
        "a code must stand for one class",
    ),
    "no code for no finding": (
        PLAIN + '[codes]\nsick = ["SCT:1"]',
        "codes must name every class, also the one without a finding: healthy",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_one_line_that_names_it(tmp_path: Path, mistake: str) -> None:
    text, hint = REFUSED[mistake]
    with pytest.raises(ConfigError, match=hint) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_findings_of_a_multi_label_task_need_no_code_for_none(tmp_path: Path) -> None:
    task = load(tmp_path, PLAIN + 'multi_label = true\n[codes]\nsick = ["SCT:1"]')
    assert task.codes == (ClassCodes(name="sick", codes=("SCT:1",)),)


def test_classes_may_be_named_in_the_hospitals_language(tmp_path: Path) -> None:
    assert load(tmp_path, PLAIN.replace("healthy", "ohne Befund (ö)")).classes[0] == "ohne Befund (ö)"


def test_the_order_of_filters_and_codes_makes_no_other_task(tmp_path: Path) -> None:
    turned = FULL.replace('"DX", "CR"', '"CR", "DX"').replace('"PA", "AP"', '"AP", "PA"')
    turned = turned.replace('"SCT:233604007", "I10:J18.9"', '"I10:J18.9", "SCT:233604007"')
    assert turned != FULL
    assert load(tmp_path, turned).digest == load(tmp_path, FULL).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "chest"', 'name = "lung"'),
        ('["normal", "pneumonia"]', '["pneumonia", "normal"]'),
        ('positive = "pneumonia"', 'positive = "normal"'),
        ("multi_label = true", "multi_label = false"),
        ('["DX", "CR"]', '["DX"]'),
        ('["PA", "AP"]', '["PA"]'),
        ("size = 64", "size = 32"),
        ("channels = 3", "channels = 1"),
        ('intensity = "window"\nwindow_name = "LUNG"', 'intensity = "percentile"'),
        ("LUNG", "BONE"),
        ("crop = 0.9", "crop = 0.8"),
        ('frames = "middle"', 'frames = "first"'),
        ('"I10:J18.9"', '"I10:J18.8"'),
    ],
)
def test_whatever_differs_makes_another_task(tmp_path: Path, old: str, new: str) -> None:
    changed = FULL.replace(old, new)
    assert changed != FULL
    assert load(tmp_path, changed).digest != load(tmp_path, FULL).digest


def test_the_recipe_has_a_digest_of_its_own(tmp_path: Path) -> None:
    task = load(tmp_path, FULL)
    assert replace(task, name="other").recipe.digest == task.recipe.digest
    assert replace(task.recipe, crop=1.0).digest != task.recipe.digest
