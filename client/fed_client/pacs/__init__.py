"""Fetches a hospital's images from its archive into a folder, over DICOMweb or DIMSE."""
