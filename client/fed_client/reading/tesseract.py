"""Asks Tesseract whether there are words in a picture; what they say is forgotten on the spot."""

import csv
import io
import shutil
import subprocess

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TIMEOUT_S = 10.0
# Below, Tesseract sees words in noise.
MIN_CONFIDENCE = 30.0
MIN_LETTERS = 3
# Tesseract reads capitals of about 30 pixels best; a line is somewhat higher.
_LINE_HEIGHT = 56
_MAX_SIDE = 3000


def find_tesseract() -> str | None:
    """Return where the program is, None if it isn't installed."""
    return shutil.which("tesseract")


def reads_words(line_HW: NDArray[np.uint8]) -> bool | None:
    """Return whether a line holds a word of several letters or digits; None if the reading failed."""
    program = find_tesseract()
    if program is None:
        return None
    scaled = _scaled(Image.fromarray(line_HW))
    stream = io.BytesIO()
    scaled.save(stream, format="PNG")
    command = [program, "stdin", "stdout", "--psm", "6", "tsv"]
    try:
        ran = subprocess.run(
            command,
            input=stream.getvalue(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=False,
            env={"OMP_THREAD_LIMIT": "1", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if ran.returncode:
        return None
    return _has_word(ran.stdout.decode("utf-8", errors="replace"))


def _scaled(picture: Image.Image) -> Image.Image:
    scale = min(_LINE_HEIGHT / picture.height, _MAX_SIDE / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC) if scale != 1 else picture


def _has_word(table: str) -> bool:
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        letters = sum(letter.isalnum() for letter in row.get("text") or "")
        if letters >= MIN_LETTERS and float(row.get("conf") or -1) >= MIN_CONFIDENCE:
            return True
    return False
