"""Small studies of patients who don't exist, as an archive has them."""

from collections.abc import Iterator

import numpy as np
from pydicom.uid import generate_uid
from tests.client.dicom_files import file_bytes, image_dataset


def studies(count: int, *, instances: int = 2, modality: str = "CR") -> Iterator[tuple[str, list[bytes]]]:
    """Yield the UID and the files of each study; dates go from 1 January 2020 on, a day each, in a ring."""
    for number in range(count):
        study = generate_uid(entropy_srcs=[f"study {modality} {number}"])
        series = generate_uid(entropy_srcs=[f"series {modality} {number}"])
        files = []
        for instance in range(instances):
            pixels = np.full((16, 16), 100 * number + instance, np.uint16)
            dataset = image_dataset(
                pixels,
                patient=f"P{number // 2}",
                StudyInstanceUID=study,
                SeriesInstanceUID=series,
                SOPInstanceUID=generate_uid(entropy_srcs=[f"image {modality} {number} {instance}"]),
                StudyDate=f"202001{number % 28 + 1:02}",
                Modality=modality,
                AccessionNumber=f"A{number}",
                BodyPartExamined="CHEST" if number % 2 else "HAND",
                PatientName=f"Nobody^{number}",
                StudyID=str(number),
                SeriesNumber="1",
                InstanceNumber=str(instance),
            )
            files.append(file_bytes(dataset))
        yield study, files
