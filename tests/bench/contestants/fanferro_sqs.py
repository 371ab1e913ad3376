"""fanferro on SQS: its HTTP, signatures and batches are Rust's."""

import fanferro

from tests.bench.contestants._fanferro import Consuming
from tests.bench.work import Setting


class Contestant(Consuming):
    """`Provisioning.assume()` asks nothing at the start."""

    def __init__(self, setting: Setting) -> None:
        client = fanferro.Client(
            region="us-east-1",
            endpoint_url=setting.job.address,
            credentials=fanferro.Credentials("bench", "bench"),
            account_id="000000000000",
            provisioning=fanferro.Provisioning.assume(),
        )
        super().__init__(setting, client, client.queue(setting.job.queue, url=setting.job.queue_url))
