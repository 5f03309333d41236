"""A plan says the same as the accountants, and a forecast's interval is the one of the textbook."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats
from typer.testing import CliRunner

from fed_common.accounting import PldAccountant, Spend
from fed_common.errors import ConfigError
from fed_common.proposal import EvaluationTable, PrivacyTable, Proposal, ScheduleTable
from fed_sim.cli import app
from fed_sim.planning.forecast import mean_with_interval
from fed_sim.planning.plan import make_plan
from fed_sim.scenario import scenario_file

PROPOSAL = Proposal(
    schedule=ScheduleTable(rounds=40, steps_per_round=1),
    privacy=PrivacyTable(epsilon=8.0, sampling_rate=0.1, noise_multiplier=2.0, max_images_per_patient=2),
    evaluation=EvaluationTable(every=40, noise_multiplier=8.0),
)
SIZES = {"north": 400, "east": 400, "west": 400, "south": 20_000}


def spends(*, noise: float, counts: float, draws: int = 1) -> list[Spend]:
    training = Spend(noise_multiplier=noise, sampling_rate=0.1, steps=40, draws_per_patient=draws)
    return [training, Spend(noise_multiplier=counts, sampling_rate=1.0, steps=1)]


def test_a_plan_tells_whom_it_protects_how_well() -> None:
    made = make_plan(PROPOSAL, SIZES, budget=8.0)
    own, alone = made.claims_if_masked
    pld = PldAccountant()
    assert own.epsilon == made.cost.epsilon
    assert own.epsilon == pytest.approx(pld.epsilon(spends(noise=2.0, counts=8.0), 1e-5), abs=0.02)
    seen = spends(noise=2.0 * 3**0.5, counts=8.0)  # of four sites three may survive; counts aren't masked
    assert alone.epsilon == pytest.approx(pld.epsilon(seen, 1e-5), abs=0.02)
    assert made.drawn_singly == pld.epsilon(spends(noise=2.0, counts=8.0, draws=2), 1e-5) > own.epsilon
    assert [site.divisor for site in made.sites] == [40.0, 40.0, 40.0, 2000.0]
    assert [site.largest_delta for site in made.sites] == [1e-5, 1e-5, 1e-5, 5e-6]


def test_several_steps_per_round_leave_one_claim() -> None:
    several = replace(PROPOSAL, schedule=ScheduleTable(rounds=20, steps_per_round=2))
    assert len(make_plan(several, SIZES, budget=8.0).claims_if_masked) == 1


def test_two_sites_leave_one_claim() -> None:
    two = {name: SIZES[name] for name in ("north", "south")}
    assert len(make_plan(PROPOSAL, two, budget=8.0).claims_if_masked) == 1


def test_what_a_sum_shows_again_leaves_one_claim(tmp_path: Path) -> None:
    file = tmp_path / "federation.toml"
    text = scenario_file(Path("phantoms")).read_text()
    file.write_text(re.sub("steps_per_round = .*", "steps_per_round = 1", text))
    assert len(_claims(file)) == 2
    file.write_text(file.read_text() + '\n[algorithm]\nname = "scaffold"\n')
    assert len(_claims(file)) == 1


def _claims(file: Path) -> list[object]:
    ran = CliRunner().invoke(app, ["plan", str(file), "--json"], catch_exceptions=False)
    claims: list[object] = json.loads(ran.stdout)["claims_if_masked"]
    return claims


def test_options_replace_what_a_file_says() -> None:
    options = {"rounds": 2, "steps": 3, "noise": 4, "images": 1, "patients": 50, "budget": 3}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    ran = CliRunner().invoke(app, ["plan", "phantoms", *words, "--json"], catch_exceptions=False)
    made = json.loads(ran.stdout)
    assert (made["cost"]["steps"], made["cost"]["noise_multiplier"]) == (6, 4.0)
    assert (made["outlook"]["budget"], made["fits"], len(made["sites"])) == (3.0, True, 1)


def test_an_option_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="sampling_rate"):
        CliRunner().invoke(app, ["plan", "--sampling-rate", "2"], catch_exceptions=False)


def test_the_interval_of_a_mean_is_students() -> None:
    values = [0.90, 0.92, 0.91, 0.95]
    estimate = mean_with_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=0.92, scale=stats.sem(values))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.92, low, high))
