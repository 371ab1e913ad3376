"""What AWS bills for requests: a rate of them in dollars a month, counted as in `docs/explain/cost.md`."""

from typing import Final

__all__ = ["CLOUDWATCH_DOLLARS", "SOURCE", "SQS", "dollars_a_month", "price_of"]

SQS: Final = "aws_sqs"
"""What a backend on SQS calls its system."""

SOURCE: Final = "aws.amazon.com/sqs/pricing, us-east-1, June 2026"

_MILLION: Final = 1e6
_STANDARD_DOLLARS: Final = 0.40
"""Of a million requests to a standard queue, up to 100 billion a month. The free million of each month is left out."""
_FIFO_DOLLARS: Final = 0.50
_MONTH_SECONDS: Final = 730 * 3600

CLOUDWATCH_DOLLARS: Final = 10.0
"""Of a million GetMetricStatistics requests: aws.amazon.com/cloudwatch/pricing, us-east-1, June 2026."""


def price_of(system: str, identity: str) -> float | None:
    """Return the dollars of a million requests to a queue; None: they are not billed."""
    if system != SQS:
        return None
    return _FIFO_DOLLARS if identity.endswith(".fifo") else _STANDARD_DOLLARS


def dollars_a_month(requests_a_second: float, price: float | None) -> float | None:
    """Return what a rate of requests costs in a month of 730 hours."""
    return None if price is None else requests_a_second * _MONTH_SECONDS * price / _MILLION
