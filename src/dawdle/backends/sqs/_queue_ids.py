"""What a queue is called wherever it is reached from: account and name, from its URL or its ARN. Calls nothing."""

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["has_account_id", "identity_from_arn", "identity_from_url"]

_ARN: Final = re.compile(r"arn:[a-z0-9-]+:sqs:[a-z0-9-]*:(?P<account>[^:]+):(?P<name>[A-Za-z0-9_.-]+)")
_WITH_ACCOUNT: Final = re.compile(r"[0-9]{12}/.+")


def identity_from_url(url: str) -> str:
    """Return `account/name`: hosts differ (VPC endpoints, legacy names), and the last two parts of the path do not."""
    return "/".join(urlsplit(url).path.strip("/").split("/")[-2:])


def identity_from_arn(arn: str) -> str | None:
    """Return `account/name`; None for what is no queue's ARN."""
    found = _ARN.fullmatch(arn)
    return None if found is None else f"{found['account']}/{found['name']}"


def has_account_id(identity: str) -> bool:
    """Whether an identity can be compared with that of an ARN: the URLs of some emulators have no account in them."""
    return _WITH_ACCOUNT.fullmatch(identity) is not None
