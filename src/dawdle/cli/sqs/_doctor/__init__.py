"""`dawdle sqs doctor`: `ask` gathers facts, `rules` say what is wrong with them, `command` prints it.

The rules are pure, so each is tested without a server.
"""
