"""What a queue is called wherever it is reached from: account and name, from its URL or its ARN. Calls nothing."""

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["identity_of_arn", "identity_of_url", "says_account"]

_ARN: Final = re.compile(r"arn:[a-z0-9-]+:sqs:[a-z0-9-]*:(?P<account>[^:]+):(?P<name>[A-Za-z0-9_.-]+)")
_WITH_ACCOUNT: Final = re.compile(r"[0-9]{12}/.+")


def identity_of_url(url: str) -> str:
    """Return `account/name`: hosts differ (VPC endpoints, legacy names), and the last two parts of the path do not."""
    return "/".join(urlsplit(url).path.strip("/").split("/")[-2:])


def identity_of_arn(arn: str) -> str | None:
    """Return `account/name`; None for what is no queue's ARN."""
    found = _ARN.fullmatch(arn)
    return None if found is None else f"{found['account']}/{found['name']}"


def says_account(identity: str) -> bool:
    """Whether an identity can be compared with that of an ARN: the URLs of some emulators have no account in them."""
    return _WITH_ACCOUNT.fullmatch(identity) is not None
