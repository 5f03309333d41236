"""The exchange of the simulation keeps what every exchange promises."""

import pytest
from tests.contracts.exchange_contract import ExchangeContract, Federation

from fed_sim.loopback import LoopbackExchange


class TestLoopbackExchange(ExchangeContract):
    @pytest.fixture
    def federation(self) -> Federation:
        return lambda answerers: LoopbackExchange.open(answerers, workers=len(answerers))
