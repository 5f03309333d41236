"""Makes of a hospital's files the data set it learns from: by patient, counted, and known by a digest.

Named here is what training needs, so that who trains needn't import what reads files.
"""

from fed_client.dataset.labelled import LabelledImages, SiteDataset

__all__ = ["LabelledImages", "SiteDataset"]
