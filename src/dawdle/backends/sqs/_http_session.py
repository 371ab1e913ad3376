"""aiobotocore's HTTP session, except that it follows no redirect and tells with which settings botocore made it.

aiobotocore lets aiohttp follow redirects. On the way to another host aiohttp drops the signature and sends the rest:
the token of temporary credentials, and with 307 and 308 the body. SQS never redirects, so a redirect comes from a
server in between, and is an error.

The settings (certificates, proxies) are what botocore made of files, variables and arguments. The data plane needs them
for its own connections, and botocore hands them to this class only.
"""

from collections.abc import Mapping
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

__all__ = ["HttpSession", "session_class"]


class HttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """aiobotocore's session, except that a redirect is an answer like any other."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)  # pyright: ignore[reportUnknownMemberType] - it has no types
        self.settings: Mapping[str, Any] = settings

    async def _get_session(self, proxy_url: str | None) -> Any:
        """Return what makes the requests. May go when aiobotocore has an option for it; as of 3.10 it has none."""
        return _NoRedirects(await super()._get_session(proxy_url))  # pyright: ignore[reportUnknownMemberType] - it has no types


class _NoRedirects:
    """An aiohttp session for which a redirect is an answer."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, method: str, **options: Any) -> Any:
        """Make one request."""
        return self._session.request(method, allow_redirects=False, **options)


def session_class(made: list[HttpSession]) -> type[HttpSession]:
    """Return a class of sessions that notes each session that botocore makes of it."""

    class NotedSession(HttpSession):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            made.append(self)

    return NotedSession
