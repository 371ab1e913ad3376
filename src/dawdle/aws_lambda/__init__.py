"""An app as an AWS Lambda function: `handler = dawdle.aws_lambda.handler(app)`. The public names, and nothing else.

A worker asks SQS for messages. A function is called with them, and SQS's event source deletes what the function has not
reported. All else is as in a worker: each record goes through the same processor, and a retry, a delay and a dead
letter are copies that are stored in SQS before the function returns.
"""

from dawdle.aws_lambda._errors import UnfinishedRecordsError
from dawdle.aws_lambda._foreign import Foreign, eventbridge, s3, sns
from dawdle.aws_lambda._handler import LambdaHandler, handler

__all__ = ["Foreign", "LambdaHandler", "UnfinishedRecordsError", "eventbridge", "handler", "s3", "sns"]
