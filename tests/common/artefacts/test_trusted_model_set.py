"""A released model is believed in one order, and never an older one again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import COORDINATOR_SIGNS, EAST, FIRST_P, NORTH, TASK
from tests.released_models import (
    MANIFEST,
    MODEL_BYTES,
    NOW,
    ROOT,
    cosigned,
    release_of,
    sealed_release,
    write_released,
)

from fed_common import canonical
from fed_common.artefacts.opening import open_released
from fed_common.artefacts.root import ModelRoot
from fed_common.artefacts.trusted_model_set import Accepted, TrustedModelSet
from fed_common.errors import ConfigError, TrustError


def trusted(*, last: Accepted | None = None) -> TrustedModelSet:
    return TrustedModelSet(ROOT, task=TASK, last=last, now=NOW)


def test_a_released_model_is_opened_and_remembered(tmp_path: Path) -> None:
    release, model = open_released(
        write_released(tmp_path / "out"), ROOT, task=TASK, memory=tmp_path / "memory", now=NOW
    )
    assert (release, model.manifest) == (release_of(), MANIFEST)
    assert (model.parameters_P == FIRST_P).all()
    accepted = canonical.decode((tmp_path / "memory").read_bytes(), Accepted)
    assert (accepted.federation, accepted.number) == ("play", 1)


def test_no_file_is_taken_before_the_one_that_vouches_for_it() -> None:
    with pytest.raises(RuntimeError):
        trusted().update_manifest(cosigned())
    with pytest.raises(RuntimeError):
        trusted().load_model(MODEL_BYTES)
    half = trusted()
    half.update_release(sealed_release(release_of()))
    with pytest.raises(RuntimeError):
        half.load_model(MODEL_BYTES)


def test_an_older_release_or_another_one_of_the_same_number_is_refused(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    second = sealed_release(release_of(number=2))
    folder = write_released(tmp_path / "second", release=second)
    for _ in range(2):  # the same one may be opened as often as anybody likes
        open_released(folder, ROOT, task=TASK, memory=memory, now=NOW)
    before = memory.read_bytes()

    for release, reason in (
        (release_of(number=1), "older than 2"),
        (release_of(number=2, expires=NOW + 10), "another release 2"),
    ):
        write_released(folder, release=sealed_release(release))
        with pytest.raises(TrustError, match=reason):
            open_released(folder, ROOT, task=TASK, memory=memory, now=NOW)
        assert memory.read_bytes() == before

    write_released(folder, release=sealed_release(release_of(number=3)))
    open_released(folder, ROOT, task=TASK, memory=memory, now=NOW)


def test_a_model_that_does_not_open_is_not_remembered(tmp_path: Path) -> None:
    folder = write_released(tmp_path / "out", model=MODEL_BYTES[:-1] + b"\0")
    with pytest.raises(TrustError, match="not the file"):
        open_released(folder, ROOT, task=TASK, memory=tmp_path / "memory", now=NOW)
    assert not (tmp_path / "memory").exists()


def test_a_damaged_memory_lets_nothing_pass(tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(b"{}")
    with pytest.raises(TrustError, match="nobody knows"):
        open_released(write_released(tmp_path), ROOT, task=TASK, memory=tmp_path / "memory", now=NOW)


def test_what_other_federations_released_is_neither_trusted_nor_remembered() -> None:
    last = Accepted(federation="other", number=9, release=canonical.digest(release_of()))
    with pytest.raises(TrustError, match="of releases of other: take one for each federation"):
        trusted(last=last).update_release(sealed_release(release_of()))
    with pytest.raises(TrustError, match="a model of other"):
        trusted().update_release(sealed_release(replace(release_of(), federation="other")))


@pytest.mark.parametrize(("now", "expired"), [(NOW + 9, False), (NOW + 10, True), (float("nan"), True)])
def test_a_release_expires(now: float, expired: bool) -> None:
    models = TrustedModelSet(ROOT, task=TASK, last=None, now=now)
    raw = sealed_release(release_of(expires=NOW + 10))
    if expired:
        with pytest.raises(TrustError, match="expired on 2027-01-15; ask for a newer one"):
            models.update_release(raw)
    else:
        models.update_release(raw)


def test_a_model_for_another_task_is_refused() -> None:
    models = TrustedModelSet(ROOT, task=replace(TASK, name="another"), last=None, now=NOW)
    models.update_release(sealed_release(release_of()))
    with pytest.raises(TrustError, match="another task"):
        models.update_manifest(cosigned())


@pytest.mark.parametrize(
    "said", [{"classes": ("sick", "healthy")}, {"positive": "healthy"}, {"multi_label": True}]
)
def test_a_manifest_that_gives_the_outputs_another_meaning_is_refused(said: dict[str, Any]) -> None:
    other = replace(MANIFEST, **said)
    models = trusted()
    models.update_release(sealed_release(release_of(other)))
    with pytest.raises(TrustError, match="its classes are said to be others"):
        models.update_manifest(cosigned(other))


def test_a_manifest_about_another_file_than_it_names_is_refused() -> None:
    other = replace(MANIFEST, file=release_of().manifest)
    models = trusted()
    models.update_release(sealed_release(release_of(other)))  # the release is about the file of MANIFEST
    with pytest.raises(TrustError, match="not the manifest that the release names"):
        models.update_manifest(cosigned(other))


def test_a_root_is_read_back_and_no_site_counts_twice(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    path.write_bytes(canonical.encode(ROOT) + b"\n")
    assert ModelRoot.load(path) == ROOT
    path.write_bytes(path.read_bytes().replace(COORDINATOR_SIGNS.hex.encode(), b"00"))
    with pytest.raises(TrustError, match="not a readable root"):
        ModelRoot.load(path)

    north, east, _ = ROOT.sites
    assert (north.site, east.site) == (NORTH, EAST)
    for sites in ((north, replace(east, identity=north.identity)), (north, replace(east, site=NORTH))):
        with pytest.raises(ConfigError, match="one key of its own"):
            replace(ROOT, sites=sites)
    with pytest.raises(ConfigError, match="one key of its own"):
        replace(ROOT, coordinator=north.identity)
    for threshold in (0, 4):
        with pytest.raises(ConfigError, match=r"threshold must be in \[1, 3\]"):
            replace(ROOT, threshold=threshold)
