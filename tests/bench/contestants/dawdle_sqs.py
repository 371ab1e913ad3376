"""dawdle on SQS, with its defaults."""

from dawdle.backends.sqs import SQS
from tests.bench.contestants._dawdle import App
from tests.bench.work import Setting


class Contestant(App):
    """Concurrent signals share requests on their own, and so do deletes."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, SQS(setting.job.queue_url, region="us-east-1", endpoint_url=setting.job.address))
