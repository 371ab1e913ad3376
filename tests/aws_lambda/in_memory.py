"""A function whose app has its queue in memory: it cannot work, and says so when Lambda imports it."""

import dawdle
from dawdle import aws_lambda
from dawdle.backends.memory import Memory

handler = aws_lambda.handler(dawdle.Dawdle(Memory(), registry=dawdle.Registry()))
