"""`fed-client audit`: the site's own log, and what the coordinator and other sites hand out of theirs."""

from pathlib import Path

from fed_client.config import read_site_config
from fed_common.audit_log.commands import Owner, audit_commands
from fed_common.audit_log.comparison import COORDINATOR
from fed_common.audit_log.log import AuditLog
from fed_common.signing import VerifyingKey


def site_of(config: Path) -> Owner:
    """Return the site that site.toml names."""
    settings = read_site_config(config)
    return Owner(
        name=settings.name,
        log=AuditLog(settings.audit),
        key=settings.signing_key,
        others={COORDINATOR: VerifyingKey.load(settings.coordinator)},
        missing=lambda _log: (),
    )


app = audit_commands(site_of, config_file="site.toml")
