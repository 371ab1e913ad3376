"""Rules are tested by properties first: values in, value out, so each example costs microseconds."""

from hypothesis import settings

settings.register_profile("rules", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("rules")
