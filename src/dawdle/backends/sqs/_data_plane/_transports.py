"""The two ways by which a signed request reaches SQS: our own HTTP client, or aiobotocore's session on aiohttp.

    direct connection ──────────────────────────► DirectTransport
    proxy, client certificate, socket options ──► SessionTransport: aiohttp knows these, for some 70 µs more a call

Both raise botocore's errors, so that one module classifies them (`_errors`). Neither follows a redirect, and neither
logs anything.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from time import time
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import (
    ProxyConfiguration,
    create_urllib3_context,  # pyright: ignore[reportUnknownVariableType] - it has no types
    get_cert_path,  # pyright: ignore[reportUnknownVariableType] - as above
)

from dawdle.backends._http import (
    HttpAnswer,
    HttpAnswerTimeoutError,
    HttpBadAnswerError,
    HttpClient,
    HttpConnectTimeoutError,
    HttpError,
    HttpTLSError,
)
from dawdle.backends.sqs._data_plane._signer import Credentials, Request, Signer, Template
from dawdle.backends.sqs._http_session import HttpSession

__all__ = ["Transport", "open_transport"]

_OUR_SOCKET_OPTIONS: Final = {
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
}
"""What our own client sets too. botocore asks for the first always, and for the second by `tcp_keepalive`."""


class Transport(Protocol):
    """Sends requests, each of them once."""

    async def send(self, request: Request, credentials: Credentials, seconds: float) -> HttpAnswer:
        """Return the answer, whatever its status. Raises botocore's errors, within so many seconds."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


async def open_transport(session: HttpSession, template: Template, connect_seconds: float, pool: int) -> Transport:
    """Return the transport for a session's settings.

    `pool`: connections at once. `connect_seconds`: seconds in which one must be made.
    """
    signer = Signer(template)
    if not _is_direct(session.settings, template.url):
        return SessionTransport(session, template, signer)
    address = urlsplit(template.url)
    is_tls = address.scheme == "https"
    try:
        # Reading a bundle of certificates takes 10 ms and more, so it is done in a thread.
        tls = await asyncio.to_thread(_tls_context, session.settings["verify"]) if is_tls else None
    except OSError:  # a bundle that cannot be read: aiobotocore says so at each call, and the app may be opened
        return SessionTransport(session, template, signer)
    client = HttpClient(
        address.hostname or "",
        address.port or (443 if is_tls else 80),
        tls=tls,
        max_connections=pool,
        connect_seconds=connect_seconds,
    )
    return DirectTransport(client, template.url, signer)


class DirectTransport:
    """Sends by our own client."""

    def __init__(self, client: HttpClient, url: str, signer: Signer) -> None:
        self._client = client
        self._url = url
        self._signer = signer

    async def send(self, request: Request, credentials: Credentials, seconds: float) -> HttpAnswer:
        """Return the answer. Raises botocore's errors."""
        head = self._signer.head(request, time(), credentials)
        try:
            return await self._client.request(head, request.body, seconds)
        except HttpError as error:
            raise _as_botocore_error(error, self._url) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()


class SessionTransport:
    """Sends by the session that botocore made, which is closed with its client."""

    def __init__(self, session: HttpSession, template: Template, signer: Signer) -> None:
        self._session: Any = session
        self._url = template.url
        self._signer = signer

    async def send(self, request: Request, credentials: Credentials, seconds: float) -> HttpAnswer:
        """Return the answer. Raises botocore's errors."""
        headers = self._signer.headers(request, time(), credentials)
        prepared = AWSPreparedRequest("POST", self._url, dict(headers), request.body, stream_output=False)
        try:
            async with asyncio.timeout(seconds):
                response = await self._session.send(prepared)
                body: bytes = await response.content
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=self._url, error=error) from error
        fields = [(name.encode(), value.encode()) for name, value in response.headers.items()]
        return HttpAnswer(response.status_code, fields, body)

    async def close(self) -> None:
        """Do nothing: the session belongs to botocore's client."""


def _is_direct(settings: Mapping[str, Any], url: str) -> bool:
    """Whether botocore's settings ask for nothing that our own client does not have, for requests to this URL."""
    # In the settings is every variable that ends in `_proxy`, NO_PROXY too: whether one is meant, botocore knows.
    proxies: Any = ProxyConfiguration(proxies=settings.get("proxies"), proxies_settings=settings.get("proxies_config"))
    if settings.get("client_cert") or proxies.proxy_url_for(url) is not None:
        return False
    return set(settings.get("socket_options") or ()) <= _OUR_SOCKET_OPTIONS


def _tls_context(verify: bool | str) -> ssl.SSLContext:
    """Return botocore's own context, with the certificates that its settings name.

    Python's default context would refuse, from 3.13 on, custom authorities that botocore accepts (VERIFY_X509_STRICT).
    """
    context: ssl.SSLContext = create_urllib3_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.check_hostname = True  # urllib3 verifies the name itself, and so leaves it out
    context.load_verify_locations(get_cert_path(verify))
    return context


def _as_botocore_error(error: HttpError, url: str) -> Exception:
    kind: Any = ConnectionClosedError  # botocore's errors have no types
    match error:
        case HttpConnectTimeoutError():
            kind = ConnectTimeoutError
        case HttpTLSError():
            kind = SSLError
        case HttpError(sent=False):
            kind = EndpointConnectionError
        case HttpAnswerTimeoutError():
            kind = ReadTimeoutError
        case HttpBadAnswerError():
            kind = HTTPClientError
        case _:
            pass
    found: Exception = kind(endpoint_url=url, error=error)
    return found
