"""Makes of a hospital's files the data set it learns from: by patient, counted, and known by a digest."""

from fed_client.dataset.labelled import LabelledImages, SiteDataset
from fed_client.dataset.public import load_public_test
from fed_client.dataset.registration import register
from fed_client.dataset.reopening import open_dataset
from fed_client.dataset.source import SiteKeys, Source
from fed_client.dataset.split import Fractions
from fed_client.dataset.versions import Version

__all__ = [
    "Fractions",
    "LabelledImages",
    "SiteDataset",
    "SiteKeys",
    "Source",
    "Version",
    "load_public_test",
    "open_dataset",
    "register",
]
