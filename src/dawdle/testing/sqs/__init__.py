"""An SQS server for tests: it follows the SQS documentation, is fast with a backlog, and can fail on purpose."""

from dawdle.testing.sqs._faults import Asked as Asked
from dawdle.testing.sqs._faults import FaultName as FaultName
from dawdle.testing.sqs._faults import Faults as Faults
from dawdle.testing.sqs._faults import Fired as Fired
from dawdle.testing.sqs._faults import Rule as Rule
from dawdle.testing.sqs._faults import Standing as Standing
from dawdle.testing.sqs._server import SQSServer as SQSServer
from dawdle.testing.sqs._serving import serve as serve
from dawdle.testing.sqs._view import MessageView as MessageView
from dawdle.testing.sqs._view import QueueView as QueueView
