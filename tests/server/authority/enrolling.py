"""A site that is enrolled by hand, for the tests of the register."""

from tests.authority_samples import authority

from fed_common.names import SiteName
from fed_common.pki.enrolment import verified_request
from fed_common.pki.key_folder import KeyFolder
from fed_server.registry.admission import Admissions

CA = authority()
NORTH, SOUTH = SiteName("north"), SiteName("south")
DAY_S = 86400.0


def enrol(admissions: Admissions, keys: KeyFolder, site: SiteName = NORTH) -> None:
    secret = admissions.invite(site, ttl_s=DAY_S)
    raw = keys.request(site, CA.certificate, secret=secret)
    admissions.ask(raw)
    admissions.approve(site, CA, words=verified_request(raw).words)
