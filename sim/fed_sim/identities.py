"""Invents people and visits, so that de-identification has something to find and nobody to hurt."""

import datetime

import numpy as np

from fed_sim.dicom_writer import Person, Visit

_FIRST = ("Zelda", "Otto", "Mira", "Tycho", "Fenja", "Basil", "Runa", "Caspar", "Ilse", "Jasper")
_FAMILY = ("Beispielmann", "Fictiva", "Testorius", "Phantomska", "Mustergard", "Inventado", "Nimmerda")
_STREETS = ("Nowhere Lane", "Invented Road", "Sample Street", "Example Avenue")
_PHYSICIANS = ("Placebo^Petra^^Dr", "Dummy^Daniel^^Dr", "Exemplar^Esther^^Dr")


def invent_visit(rng: np.random.Generator, *, hospital: str, number: int, uid_root: str) -> Visit:
    """Return a visit of the hospital's patient `number` with everything a real one would give away."""
    return Visit(
        person=Person(
            patient_id=f"{hospital.upper()}-{number:06d}",
            name=f"{rng.choice(_FAMILY)}^{rng.choice(_FIRST)}",
            birth_date=_date(rng, "1930-01-01", "2005-12-31"),
            address=f"{rng.integers(1, 200)} {rng.choice(_STREETS)}, Phantomville",
            physician=str(rng.choice(_PHYSICIANS)),
        ),
        uid_root=f"{uid_root}/{hospital}/{number}",
        date=_date(rng, "2015-01-01", "2024-12-31"),
        accession=f"A{rng.integers(10**8):08d}",
    )


def _date(rng: np.random.Generator, first: str, last: str) -> str:
    begin, end = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    day = begin + datetime.timedelta(days=int(rng.integers((end - begin).days)))
    return day.strftime("%Y%m%d")
