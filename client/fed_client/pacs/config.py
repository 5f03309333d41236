"""The table `[pacs]` of site.toml: where the archive is, and how we and it recognise each other."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from fed_common.config import ConfigTable

_Port = Annotated[int, Field(ge=1, le=65535)]
# Source: DICOM PS3.5 6.2 (AE): no backslash, no control characters, at most 16.
_Title = Annotated[str, Field(pattern=r"^[ -\[\]-~]{1,16}$")]


class PacsTable(ConfigTable):
    """Either `url` (DICOMweb) or `host` and `port` (DIMSE)."""

    url: str = ""
    ca: Path | None = None
    user: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    host: str = ""
    port: _Port = 11112
    called_ae: _Title = "PACS"
    calling_ae: _Title = "FED-CLIENT"
    method: Literal["get", "move"] = "get"
    receive_port: _Port = 11113
    plain: bool = False

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if bool(self.url) == bool(self.host):
            raise ValueError("pacs needs either url (DICOMweb) or host (DIMSE)")
        if self.url:
            self._check_url()
        elif not self.ca and not self.plain and not is_loopback(self.host):
            raise ValueError(
                "pacs over DIMSE needs ca (TLS); plain = true accepts a line that can be overheard"
            )
        if self.method == "move" and not self.ca and not is_loopback(self.host):
            raise ValueError(
                "pacs.method = 'move' opens a port: it needs ca (TLS) unless host is this machine"
            )
        if bool(self.user) != bool(self.password_file):
            raise ValueError("pacs.user and pacs.password_file go together")
        return self

    def _check_url(self) -> None:
        address = urlsplit(self.url)
        if address.scheme not in ("https", "http") or not address.hostname:
            raise ValueError("pacs.url must look like https://HOST/dicom-web")
        if address.scheme == "http" and not is_loopback(address.hostname):
            raise ValueError("pacs.url must begin with https:// unless it is on this machine")
        if address.username or address.password:
            raise ValueError("pacs.url must hold no password; use user and password_file")


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
