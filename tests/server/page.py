"""Reads a report as a person does."""

import re
from html.parser import HTMLParser


class Reader(HTMLParser):
    """Reads a page as a person does: its tags, and its text with single spaces and plain dashes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self._pieces: list[str] = []
        self.feed(page)

    @property
    def text(self) -> str:
        text = " ".join(" ".join(self._pieces).split())
        return text.replace("\N{EN DASH}", "-").replace("\N{MINUS SIGN}", "-")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src", "xlink:href"}]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self._pieces.append(data)


def drawings_of(page: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", page, re.DOTALL)
