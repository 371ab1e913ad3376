"""Amazon SQS as a queue for several machines. Importing this loads no AWS code; opening a queue does."""

from dawdle.backends.sqs._backend import SQS as SQS
