"""Makes of a hospital's files the data set it learns from: by patient, counted, and known by a digest."""

from fed_client.dataset.folder import load_dataset, load_public_test
from fed_client.dataset.labelled import LabelledImages, SiteDataset, UnreadableFile

__all__ = ["LabelledImages", "SiteDataset", "UnreadableFile", "load_dataset", "load_public_test"]
