"""The table `[comparison]` of a scenario: which methods are held against each other, and how often."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, JsonValue

from fed_common.config import ConfigTable

# What a method changes in the scenario: a part of its tables.
Changes = Mapping[str, JsonValue]


class ComparisonTable(ConfigTable):
    """What is compared, always with each hospital alone and with all patients pooled.

    `methods` are named changes of the scenario; without any, it is compared as it is. `rounds` says for an
    epsilon, written as it is printed, how many rounds it affords if not the scenario's ("inf": no privacy).
    `test_fraction` of each hospital's patients are held out for judging there.
    """

    epsilons: tuple[Annotated[float, Field(gt=0)], ...] = (8.0, 3.0)
    without_privacy: bool = True
    seeds: Annotated[int, Field(ge=1)] = 3
    methods: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    rounds: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    test_fraction: Annotated[float, Field(gt=0, lt=0.8)] = 0.2
