"""litequeue with a pragma that it does not offer, set on its connection: what it would cost if it synced."""

from tests.bench.contestants import litequeue_file


class Contestant(litequeue_file.Contestant):
    """Synced at each commit."""

    def open(self) -> None:
        super().open()
        self._queue.conn.execute("PRAGMA synchronous = FULL")
