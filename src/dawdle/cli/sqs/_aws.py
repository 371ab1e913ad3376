"""Calls of AWS's own API: the one place of this room that touches aiobotocore. Decides nothing.

What SQS moves, events, goes by dawdle's backend. This is for what stands about it: queues, their attributes, who else
receives from them.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final, NamedTuple, cast

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session  # pyright: ignore[reportUnknownVariableType] - it has no types
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from dawdle.cli._running import CommandError

__all__ = ["AwsClient", "AwsError", "Place", "configured_region", "open_client"]

MISSING: Final = frozenset({"NonExistentQueue", "QueueDoesNotExist"})
DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation"})
ECHOES_HEADERS: Final = frozenset({"IncompleteSignature", "InvalidSignatureException", "SignatureDoesNotMatch"})
"""Codes whose message repeats the signed headers, and with them the session token."""

MAX_ATTEMPTS: Final = 3
ANSWER_SECONDS: Final = 10


class Place(NamedTuple):
    """Where requests go. None: what botocore's own settings say."""

    region: str | None
    endpoint: str | None


class AwsError(CommandError):
    """AWS refused a call, or did not answer."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code
        """AWS's error code without its prefix; of an error that never reached AWS the name of botocore's class."""

    @property
    def is_missing(self) -> bool:
        """Whether there is no such queue."""
        return self.code in MISSING

    @property
    def is_denied(self) -> bool:
        """Whether the credentials are good and lack a permission."""
        return self.code in DENIED


class AwsClient:
    """A client of one service, whose errors are `AwsError`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return str(self._client.meta.region_name)

    @property
    def endpoint(self) -> str:
        """The URL that requests go to."""
        return str(self._client.meta.endpoint_url)

    async def call(self, operation: str, about: str, **arguments: object) -> dict[str, Any]:
        """Make one call, such as `get_queue_url`. `about` is what it is about, for the text of an error."""
        try:
            return cast("dict[str, Any]", await getattr(self._client, operation)(**arguments))
        except (ClientError, BotoCoreError) as error:
            raise _to_error(error, f"{operation} for {about}") from None  # its cause may repeat credentials


@asynccontextmanager
async def open_client(service: str, place: Place, *, attempts: int = MAX_ATTEMPTS) -> AsyncGenerator[AwsClient]:
    """Open a client of a service. Credentials are found as by every AWS tool."""
    config = AioConfig(
        connect_timeout=ANSWER_SECONDS,
        read_timeout=ANSWER_SECONDS,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        user_agent_extra="dawdle",
        parameter_validation=False,  # a probe asks on purpose for what SQS refuses
    )
    try:
        session: Any = get_session()
        session.register_component("data_loader", _loader())
        made = session.create_client(service, region_name=place.region, endpoint_url=place.endpoint, config=config)
        client = await made.__aenter__()
    except (BotoCoreError, ValueError) as error:  # an endpoint that is no URL is a ValueError
        raise _to_error(error, f"a client of {service}") from None
    try:
        yield AwsClient(client)
    finally:
        await made.__aexit__(None, None, None)


@cache
def _loader() -> Any:
    """Return botocore's loader of AWS's models, one for all clients: to read a model takes 60 ms."""
    session: Any = get_session()
    return session.get_component("data_loader")


def configured_region() -> str | None:
    """Return the region that AWS's variables or its config file name; None: they name none. Raises `AwsError`."""
    session: Any = get_session()
    try:
        region: str | None = session.get_config_variable("region")
    except BotoCoreError as error:
        raise _to_error(error, "the region") from None
    return region


def _to_error(error: Exception, what: str) -> AwsError:
    match error:
        case ClientError():
            told: Mapping[str, str] = getattr(error, "response", {}).get("Error", {})
            code = str(told.get("Code", "")).replace("#", ".").rpartition(".")[2]
            message = "" if code in ECHOES_HEADERS else str(told.get("Message", ""))
            return AwsError(f"{code}: {message or 'AWS gives no reason'} ({what})", code)
        case NoCredentialsError() | PartialCredentialsError():
            text = "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        case NoRegionError():
            text = "no AWS region is set: say --region, or set AWS_DEFAULT_REGION"
        case EndpointConnectionError() | BotoConnectionError():
            text = f"no answer: {error}: is the endpoint right, and does the server run?"
        case ProfileNotFound() | ConfigParseError() | InvalidRegionError() | ValueError():
            text = f"{error}: correct AWS's settings, or --endpoint-url and --region"
        case _:
            text = f"{type(error).__name__}: check AWS's configuration by `aws sts get-caller-identity`"
    return AwsError(f"{text} ({what})", type(error).__name__)
