"""The algorithms that `[algorithm] name` chooses from, each in a file with its paper."""

from fed_server.algorithms.algorithm import Algorithm, Circumstances, MeanOfRound, Memory
from fed_server.algorithms.choice import AlgorithmTable
from fed_server.algorithms.fedavg import FedAvg

__all__ = ["Algorithm", "AlgorithmTable", "Circumstances", "FedAvg", "MeanOfRound", "Memory"]
