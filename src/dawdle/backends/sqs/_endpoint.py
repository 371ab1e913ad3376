"""Decides where the requests for a queue go, and for which region they are signed. Makes no request.

First comes what the arguments and dawdle's variables say, then botocore's own settings (variables, profile, services
section), then the queue's URL. Where the URL names a host that botocore would not choose for the region by itself, the
requests go to that host: FIPS, dual-stack, a VPC endpoint, a server for tests.

It loads botocore, whose partition data knows every region and host suffix of AWS: a list of our own would be out of
date with the next region.
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
"""Labels of a host name that say that it is SQS. `queue` is the legacy form, `eu-west-1.queue.amazonaws.com`."""

_LEGACY_HOST: Final = ("queue.amazonaws.com", "us-east-1")
"""The one host of SQS without a region in its name, and its region (SQS endpoints, AWS General Reference)."""


class Endpoint(NamedTuple):
    """What a client is made with. None: botocore's own settings decide."""

    region: str | None
    url: str | None


def resolve_endpoint(address: QueueAddress, session: Any) -> Endpoint:
    """Return the endpoint of a queue. `session`: botocore's, whose settings and data are read.

    Raises `ConfigurationError` for a region that is not the URL's. Requests would be signed for that region and go to
    its host, where another queue may have the same name.
    """
    parts = urlsplit(address.url)
    host = parts.hostname or ""
    partitions = session.get_component("data_loader").load_data("partitions")["partitions"]
    found = _aws_host(host, partitions)
    region = address.region or (None if found is None else found.region)
    # 1. What the app's code or DAWDLE_SQS_ENDPOINT_URL says.
    if address.endpoint is not None:
        return Endpoint(region, address.endpoint)
    # 2. What botocore's settings say. It reads them itself when it is given no endpoint.
    if _has_configured_endpoint(session):
        return Endpoint(region, None)
    # 3. The URL names the host that botocore chooses for its region: no endpoint is needed, and the region must agree.
    if found is not None and found.is_default and parts.port in {None, 443}:
        if region != found.region:
            raise ConfigurationError(
                f"the region is {region!r}, but {address.url} is a queue in {found.region}: leave out region= and "
                f"DAWDLE_SQS_REGION, or use the URL of a queue in {region}"
            )
        return Endpoint(region, None)
    # 4. Any other host is where the requests go.
    return Endpoint(region, f"{parts.scheme}://{parts.netloc}")


class _AWSHost(NamedTuple):
    region: str
    is_default: bool
    """Whether botocore, given the region alone, chooses this host, or the one that replaced it."""


def _aws_host(host: str, partitions: Sequence[Mapping[str, Any]]) -> _AWSHost | None:
    """Return the region in the name of a host of SQS; None for a host that is not of AWS."""
    if host == _LEGACY_HOST[0]:
        return _AWSHost(_LEGACY_HOST[1], True)
    outputs = [partition["outputs"] for partition in partitions]
    suffixes = {each[name] for each in outputs for name in ("dnsSuffix", "dualStackDnsSuffix")}
    # The longest one that fits, should a suffix ever end in another.
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
    """Whether botocore's own settings hold an endpoint. Raises `ProfileNotFound` for a profile that does not exist."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return False
    chain: Any = ConfiguredEndpointProvider(
        full_config=session.full_config, scoped_config=session.get_scoped_config(), client_name="sqs"
    )
    return chain.provide() is not None
