"""Amazon SQS: when one machine is not enough. Importing this loads no AWS code; opening a queue does."""

from dawdle.backends.sqs._backend import SQS as SQS
