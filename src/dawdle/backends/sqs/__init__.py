"""Amazon SQS as a queue for several machines. Importing this loads no AWS code; opening a queue does."""

from dawdle.backends.sqs._backend import SQS as SQS
from dawdle.backends.sqs._trace_header import traceparent_of as traceparent_of
