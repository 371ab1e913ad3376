"""The app of dawdle: its queue, its handlers, its telemetry. The web app enters it, and the command knows it by name:

dawdle dead list service.app:make_app
"""

import dawdle
from dawdle.backends.sqlite import SQLite
from dawdle.telemetry import OpenTelemetry, prometheus
from service.handlers import registry
from service.settings import Settings, from_environment


def make_app(settings: Settings | None = None) -> dawdle.Dawdle:
    settings = settings or from_environment()
    telemetry: list[dawdle.Telemetry] = [prometheus()]
    if settings.sends_traces:
        telemetry.append(OpenTelemetry())
    # Orders and events are in one file, so they are stored in one transaction.
    return dawdle.Dawdle(SQLite(settings.database), registry=registry, concurrency=20, telemetry=telemetry)
