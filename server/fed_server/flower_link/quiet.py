"""Keeps Flower's log lines about refused callers from the operator, who can do nothing about them."""

import logging


def quieten_flower() -> None:
    """Leave to the operator only what Flower did not foresee; a refusal is told to the one refused."""
    flower = logging.getLogger("flwr")
    flower.handlers.clear()
    flower.setLevel(logging.ERROR)
    flower.addFilter(_unforeseen)


def _unforeseen(record: logging.LogRecord) -> bool:
    return "[ApiError:" not in record.getMessage()
