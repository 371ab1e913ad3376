"""Where the requests for a queue go, and which region signs them. Loads botocore, whose data knows the hosts of AWS.

What was told to us comes first, then what botocore's own chain of settings says (variables, profile, services section),
then the queue's URL. A URL on a host that botocore would not choose by itself is where its requests go: FIPS,
dual-stack, a VPC endpoint, a server for tests.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from botocore.configprovider import ConfiguredEndpointProvider

from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.errors import ConfigurationError

__all__ = ["Endpoint", "resolve_endpoint"]

_SERVICE_LABELS: Final = frozenset({"sqs", "sqs-fips", "queue"})
"""The labels of a host that say that it is SQS; `queue` is of the time before there were regions in front."""

_LEGACY_HOST: Final = ("queue.amazonaws.com", "us-east-1")
"""The one host of AWS that has no region in it, and the region that it is in (SQS endpoints, AWS General Reference)."""


class Endpoint(NamedTuple):
    """What a client is made with; None: as botocore's own chain of settings says."""

    region: str | None
    url: str | None


def resolve_endpoint(address: QueueAddress, session: Any) -> Endpoint:
    """Return the address of a queue. `session`: botocore's, whose settings and data are read.

    Raises `ConfigurationError` for a region that is not the URL's: requests would go to a queue of the same name there.
    """
    parts = urlsplit(address.url)
    host = parts.hostname or ""
    partitions = session.get_component("data_loader").load_data("partitions")["partitions"]
    found = _aws_host(host, partitions)
    region = address.region or (None if found is None else found.region)
    if address.endpoint is not None:
        return Endpoint(region, address.endpoint)
    if _has_configured_endpoint(session):
        return Endpoint(region, None)
    if found is not None and found.is_default and parts.port in {None, 443}:
        if region != found.region:
            raise ConfigurationError(
                f"the region is {region!r}, and {address.url} is a queue in {found.region}: leave the region out, in "
                f"the code and in DAWDLE_SQS_REGION, or take the URL of a queue in {region}"
            )
        return Endpoint(region, None)
    return Endpoint(region, f"{parts.scheme}://{parts.netloc}")


class _AWSHost(NamedTuple):
    region: str
    is_default: bool
    """Whether botocore goes to this host, or to the one that took its place, when it is told the region alone."""


def _aws_host(host: str, partitions: Sequence[Mapping[str, Any]]) -> _AWSHost | None:
    """Return the region that a host of SQS names; None for a host that is none of AWS."""
    if host == _LEGACY_HOST[0]:
        return _AWSHost(_LEGACY_HOST[1], True)
    outputs = [partition["outputs"] for partition in partitions]
    suffixes = {each[name] for each in outputs for name in ("dnsSuffix", "dualStackDnsSuffix")}
    suffix = max((each for each in suffixes if host.endswith(f".{each}")), key=len, default="")
    labels = host.removesuffix(f".{suffix}").split(".")
    if not suffix or _SERVICE_LABELS.isdisjoint(labels):
        return None
    for partition in partitions:
        for label in labels:
            if label in partition["regions"] or re.match(partition["regionRegex"], label):
                is_default = suffix == partition["outputs"]["dnsSuffix"] and labels in (
                    ["sqs", label],
                    [label, "queue"],
                )
                return _AWSHost(label, is_default)
    return None


def _has_configured_endpoint(session: Any) -> bool:
    """Whether botocore's own settings say where requests go. Raises what a profile that is not there raises."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return False
    chain: Any = ConfiguredEndpointProvider(
        full_config=session.full_config, scoped_config=session.get_scoped_config(), client_name="sqs"
    )
    return chain.provide() is not None
