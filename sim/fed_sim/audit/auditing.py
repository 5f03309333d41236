"""Makes of readings the verdict about the code that is installed here."""

from datetime import UTC, datetime

from fed_common.audit import AuditVerdict, installed_libraries
from fed_common.code_version import code_digest
from fed_sim.audit.canaries import NUM_CANARIES, SPEC
from fed_sim.audit.hospital import SiteParts
from fed_sim.audit.inversion import invert
from fed_sim.audit.membership import infer_membership
from fed_sim.audit.readings import EXPOSED, ROUNDS, read_canaries


def audited(parts: SiteParts, *, attacks: bool = False) -> AuditVerdict:
    """Return the verdict on a site made of `parts`; its data sets are canaries, noise and phantoms."""
    readings, claimed = read_canaries(parts)
    return AuditVerdict(
        date=datetime.now(UTC).date().isoformat(),
        code=code_digest(),
        libraries=installed_libraries(),
        model=SPEC.fingerprint,
        terms=EXPOSED,
        rounds=ROUNDS,
        canaries=NUM_CANARIES,
        claimed=claimed,
        readings=readings,
        attacks=(invert(parts), *infer_membership(parts)) if attacks else (),
    )
