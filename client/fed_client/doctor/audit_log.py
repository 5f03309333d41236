"""Says whether the audit log is whole: the site won't start with one that somebody has written in."""

from fed_client.config import SiteConfig
from fed_client.doctor.check import Check, failed
from fed_common.audit_log.log import AuditLog
from fed_common.errors import MachineError, TrustError


def check_audit_log(config: SiteConfig) -> Check:
    """Return whether every entry follows the one before it."""
    log = AuditLog(config.audit)
    try:
        entries = len(log.read())
    except (TrustError, MachineError) as error:
        return failed(
            "audit log",
            error,
            advice="the site won't start; restore the log, or move it aside, which the coordinator will see",
        )
    return Check(subject="audit log", status="ok", found=f"{entries} entries in one chain")
