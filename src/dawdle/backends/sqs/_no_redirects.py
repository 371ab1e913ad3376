"""The HTTP session that follows no redirect: where one leads, events and session tokens would be sent too.

aiobotocore leaves following to aiohttp, which drops the signature on the way to another host and sends the rest:
the token of temporary credentials, and with 307 and 308 the body. No service of AWS that we call redirects.
"""

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

__all__ = ["NoRedirectSession"]


class NoRedirectSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """aiobotocore's session, except that a redirect is an answer like any other."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        """Return what makes the requests. aiobotocore has no option for this (3.10)."""
        return _NoRedirects(await super()._get_session(proxy_url))  # pyright: ignore[reportUnknownMemberType] - it has no types


class _NoRedirects:
    """An aiohttp session for which a redirect is an answer."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, method: str, **options: Any) -> Any:
        """Make one request."""
        return self._session.request(method, allow_redirects=False, **options)
