"""From the table `[aggregation]` to the rule that it names."""

from fed_server.aggregation import AggregationRule, WeightedMean
from fed_server.averaging import MeanUpdate
from fed_server.robust.coordinates import Median, TrimmedMean
from fed_server.robust.krum import Krum
from fed_server.robust.norm_bounded import NormBoundedMean
from fed_server.settings import AggregationTable


def rule_of(table: AggregationTable, num_parameters: int) -> AggregationRule[MeanUpdate]:
    """Return the rule for updates of so many parameters."""
    match table.rule:
        case "mean":
            return WeightedMean(num_parameters)
        case "median":
            return Median(num_parameters)
        case "trimmed-mean":
            return TrimmedMean(num_parameters, table.num_dishonest)
        case "krum" | "multi-krum":
            return Krum(num_parameters, table.num_dishonest, several=table.rule == "multi-krum")
        case "norm-bounded-mean":
            return NormBoundedMean(num_parameters)
