"""Hands out the credentials of a session of botocore's, with its refresh. Looks for none itself."""

from typing import Any

from botocore.exceptions import NoCredentialsError

from dawdle.backends.sqs._data_plane._signer import Credentials

__all__ = ["SessionCredentials"]


class SessionCredentials:
    """The credentials that a session found once, asked at most once a second whether they must be refreshed.

    To ask temporary ones takes 13 µs, since they compare times with time zones; that would be a third of a call. They
    are refreshed 15 minutes before they expire, so that one second does not count.
    """

    def __init__(self, found: Any) -> None:
        """`found`: what `await session.get_credentials()` returned, which is None where there are none."""
        self._found = found
        self._second = -1
        self._frozen: Credentials | None = None

    def asked_at(self, now: float) -> Credentials | None:
        """Return the credentials to sign with if botocore was asked for them in this second. `now`: epoch seconds."""
        return self._frozen if int(now) == self._second else None

    async def frozen(self, now: float) -> Credentials:
        """Return the credentials to sign with. `now`: epoch seconds.

        Raises what botocore raises: `NoCredentialsError`, or the error of a source that cannot be asked.
        """
        known = self.asked_at(now)
        if known is not None:
            return known
        if self._found is None:
            raise NoCredentialsError
        frozen: Credentials = await self._found.get_frozen_credentials()
        # Only now: a refresh may take seconds, and who asks meanwhile must wait for it too, or get the old ones from
        # botocore while they are still good.
        self._frozen, self._second = frozen, int(now)
        return frozen
