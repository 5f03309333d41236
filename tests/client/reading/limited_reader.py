"""The real reading process with another way to read: the name of the file says what the reading does."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.client.reading.source_images import prepared

from fed_client.images import Finding, PreparedImage, TextDetector
from fed_client.reading.worker import serve
from fed_common.task import Recipe


def read(path: Path, _recipe: Recipe, _detector: TextDetector) -> Iterator[PreparedImage | Finding]:
    match path.name:
        case "memory":
            bytearray(1 << 33)
        case "loop":
            while True:
                pass
        case "bug":
            raise KeyError("CANARY7341")
        case "write":
            nameless = os.open("/tmp", os.O_TMPFILE | os.O_WRONLY)
            os.write(nameless, b"a patient's image")
        case "talk":
            long = prepared()
            yield replace(long, facts=replace(long.facts, patient_id="P" * (1 << 17)))
        case "say":
            yield Finding(sop_instance_uid="1.2.3", code="SCT:1", flaws=())
        case "environment":
            yield from (
                Finding(sop_instance_uid="1.2.3", code=f"ENV:{name}", flaws=()) for name in sorted(os.environ)
            )
        case "sleep":
            time.sleep(600)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, read)
