"""dawdle on a SQLite file, with its defaults: each signal is on the disk before it returns."""

from pathlib import Path

from dawdle.backends.sqlite import SQLite
from tests.bench.contestants._dawdle import App
from tests.bench.work import Setting


class Contestant(App):
    """Concurrent signals and deletes share transactions on their own."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, SQLite(Path(setting.job.address) / "bench.db"))
