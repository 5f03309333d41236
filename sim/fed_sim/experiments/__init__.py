"""Whole federations trained over and over, so that algorithms and budgets are chosen by figures.

`grid` says which models, `running` trains those that are missing in `store`, `report` tells what they show.
"""
