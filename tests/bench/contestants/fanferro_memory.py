"""fanferro's broker in memory, which its own tests use: SQS's semantics, in Rust."""

import fanferro
from fanferro.testing import memory_client

from tests.bench.contestants._fanferro import Consuming
from tests.bench.work import Setting


class Contestant(Consuming):
    """The same client and consumer as on SQS."""

    def __init__(self, setting: Setting) -> None:
        client = memory_client(provisioning=fanferro.Provisioning.create_missing())
        super().__init__(setting, client, client.queue(setting.job.queue))
