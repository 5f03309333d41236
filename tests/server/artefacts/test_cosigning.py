"""The finished model bears the signatures of those who agreed; who didn't is named, and holds up nothing."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.fakes import (
    COORDINATOR_KEY,
    COORDINATOR_SIGNS,
    EAST,
    MODEL,
    NORTH,
    OFFICER_KEYS,
    SITE_KEYS,
    SITES,
    SOUTH,
    DirectExchange,
    coordinator_log,
    cosignature,
    new_key,
)
from tests.released_models import SITE_SIGNS
from tests.server.runs import SETTINGS, Run, new_run, real_sites

from fed_common import checkpoint as checkpoints
from fed_common import signed_fact
from fed_common.artefacts.cosigning import CosignAnswer, open_request
from fed_common.artefacts.envelope import Envelope, Signature
from fed_common.audit import Release
from fed_common.audit_log.head import EMPTY_LOG
from fed_common.checkpoint import MANIFEST_FILE
from fed_common.errors import QuorumError
from fed_common.messages import Refusal
from fed_common.names import SiteName, digest_of
from fed_common.signing import SigningKey
from fed_server.artefacts.cosigning import Cosigning
from fed_server.artefacts.release import ReleaseTerms, release_model
from fed_server.journal import ModelCosigned, RunFinished
from fed_server.rounds import Coordinator
from fed_server.run_folder import RunFolder

UNAUDITED = Release(audit=None, without_audit="a rehearsal")
Answerer = Callable[[bytes], bytes]


def cosigned_of(folder: RunFolder) -> ModelCosigned:
    return [event for event in folder.journal.read() if isinstance(event, ModelCosigned)][-1]


def signers_of(folder: RunFolder) -> set[SiteName]:
    signers = checkpoints.load_envelope(folder.path).signers([COORDINATOR_SIGNS, *SITE_SIGNS.values()])
    return {site for site, key in SITE_SIGNS.items() if key.fingerprint in signers}


def test_a_finished_model_bears_all_signatures(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    last = run.start()
    told = cosigned_of(run.folder)
    assert (told.sites, told.unsigned, told.manifest) == (tuple(sorted(SITES)), (), last.digest)
    assert signers_of(run.folder) == set(SITES)
    assert isinstance(run.folder.journal.read()[-1], RunFinished)


def refusing(payload: bytes) -> bytes:
    answer = CosignAnswer(
        site=EAST,
        statement=signed_fact.verify(
            cosignature(payload, site=EAST), CosignAnswer, SITE_SIGNS[EAST]
        ).statement,
        signature=None,
        refusal=Refusal(code="cosignature-refused", detail="not this model"),
    )
    return signed_fact.sign(answer, SITE_KEYS[EAST])


def silent_about_why(payload: bytes) -> bytes:
    answer = signed_fact.verify(cosignature(payload, site=EAST), CosignAnswer, SITE_SIGNS[EAST])
    return signed_fact.sign(replace(answer, signature=None), SITE_KEYS[EAST])


@pytest.mark.parametrize(
    ("sign", "code"),
    [
        (refusing, "cosignature-refused"),
        (silent_about_why, "untrusted"),
        (lambda payload: b"garbage", "untrusted"),
        (lambda payload: cosignature(payload, site=NORTH), "untrusted"),  # another site's answer
        (lambda payload: cosignature(payload, site=EAST, key=new_key()), "untrusted"),
        (lambda payload: cosignature(payload, site=EAST, key=SITE_KEYS[NORTH]), "untrusted"),
    ],
)
def test_a_site_that_gives_no_signature_of_its_own_is_named_and_the_run_ends(
    tmp_path: Path, sign: Answerer, code: str
) -> None:
    run = new_run(tmp_path)
    run.cosigners[EAST] = sign
    run.start()
    told = cosigned_of(run.folder)
    assert told.sites == (NORTH, SOUTH)
    assert [(missing.site, missing.code) for missing in told.unsigned] == [(EAST, code)]
    assert signers_of(run.folder) == {NORTH, SOUTH}


def test_a_site_that_was_away_signs_later_and_no_other_is_asked(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.offline.add(EAST)
    run.start()
    assert signers_of(run.folder) == {NORTH, SOUTH}
    assert cosigned_of(run.folder).unsigned[0].code == "offline"

    exchange = DirectExchange({EAST: partial(cosignature, site=EAST)})
    told = cosigning(exchange).present(run.folder, tell=lambda _: None)
    assert told.sites == tuple(sorted(SITES))
    assert signers_of(run.folder) == set(SITES)
    assert [question.sites for question in exchange.questions] == [(EAST,)]


def test_a_site_that_enrolled_anew_signs_anew_and_holds_up_nothing(tmp_path: Path) -> None:
    run = Run(RunFolder.begin(tmp_path, "play"))
    run.start()
    anew = new_key()
    exchange = DirectExchange({EAST: lambda payload: cosignature_by(payload, anew)})
    keys = {**SITE_SIGNS, EAST: anew.verifying_key}
    coordinator = replace(cosigning(exchange).coordinator, site_keys=keys)

    def publish(out: str) -> None:
        terms = ReleaseTerms(ground=UNAUDITED, expires=1 << 40, log=EMPTY_LOG, cosigners=3)
        release_model(run.folder, MODEL, terms, key=COORDINATOR_KEY, site_keys=keys, out=tmp_path / out)

    with pytest.raises(QuorumError, match="co-signed by 2 of 3 sites"):
        publish("before")
    told = Cosigning(coordinator=coordinator, settings=SETTINGS).present(run.folder, tell=lambda _: None)
    assert told.sites == tuple(sorted(SITES))
    assert [question.sites for question in exchange.questions] == [(EAST,)]
    publish("after")
    assert signers_of(run.folder) == set(SITES)  # by an older root of trust, whose key of east signed, too


def cosignature_by(payload: bytes, key: SigningKey) -> bytes:
    statement = open_request(payload, COORDINATOR_SIGNS).statement.encode()
    answer = CosignAnswer(
        site=EAST, statement=digest_of(statement), signature=Signature.by(key, statement), refusal=None
    )
    return signed_fact.sign(answer, key)


def test_a_signature_that_is_forged_is_asked_for_again(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.offline.add(EAST)
    run.start()
    path = run.folder.path / MANIFEST_FILE
    envelope = Envelope.read(path.read_bytes())
    forged = replace(envelope.signatures[1], keyid=SITE_SIGNS[EAST].fingerprint)
    path.write_bytes(envelope.and_signed([forged]).encode())
    assert EAST not in signers_of(run.folder)
    exchange = DirectExchange({EAST: partial(cosignature, site=EAST)})
    assert EAST in cosigning(exchange).present(run.folder, tell=lambda _: None).sites
    assert signers_of(run.folder) == set(SITES)


def test_a_journal_that_was_torn_at_the_end_is_mended_before_signatures_are_told(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.offline.add(EAST)
    run.start()
    path = run.folder.journal.path
    path.write_bytes(path.read_bytes()[:-7])  # within the line that tells of the end
    exchange = DirectExchange({EAST: partial(cosignature, site=EAST)})

    def tell(told: ModelCosigned) -> None:
        run.folder.journal.write(told)

    cosigning(exchange).present(run.folder, tell=tell)
    assert cosigned_of(run.folder).sites == tuple(sorted(SITES))
    run.start()
    assert isinstance(run.folder.journal.read()[-1], RunFinished)


def cosigning(exchange: DirectExchange) -> Cosigning:
    coordinator = Coordinator(
        key=COORDINATOR_KEY,
        site_keys=SITE_SIGNS,
        officer_keys={site: key.verifying_key for site, key in OFFICER_KEYS.items()},
        log=coordinator_log(),
        exchange=exchange,
        quorum=2,
        deadline_s=60.0,
    )
    return Cosigning(coordinator=coordinator, settings=SETTINGS)


def test_real_sites_sign_what_a_real_run_made(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with real_sites(run, tmp_path):
        run.start()
    told = cosigned_of(run.folder)
    assert (told.sites, told.unsigned) == (tuple(sorted(SITES)), ())
