"""The table `[algorithm]`: its name says which other keys it has."""

from typing import Annotated

from pydantic import Field

from fed_server.algorithms.adaptive import FedAdam, FedYogi
from fed_server.algorithms.fedavg import FedAvg, FedSgd
from fed_server.algorithms.fedavgm import FedAvgM
from fed_server.algorithms.fednova import FedNova
from fed_server.algorithms.fedprox import FedProx
from fed_server.algorithms.scaffold import Scaffold

AlgorithmTable = Annotated[
    FedAvg | FedSgd | FedProx | Scaffold | FedAvgM | FedAdam | FedYogi | FedNova,
    Field(discriminator="name"),
]
