"""A hospital's daemon without noise: what a test starts to compare bits; no configuration can make one.

Usage: python -m tests.end_to_end.deterministic_site SITE_TOML
"""

import sys
import threading
from pathlib import Path

from tests.client.fake_randomness import FakeRandomness

from fed_client.config import load_site_config
from fed_client.flower_link import FlowerLink, serve
from fed_client.opening import opened_site


def main(config: Path) -> None:
    settings = load_site_config(config)
    link = FlowerLink(
        address=settings.address,
        ca=settings.ca,
        node_key=settings.node_key,
        state=settings.state / "link",
    )
    with opened_site(settings, randomness=FakeRandomness()) as site:
        serve(site.answer, link=link, stop=threading.Event(), on_event=lambda _: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
