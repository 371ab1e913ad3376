"""A SQLAlchemy session about each run of a handler: what it writes and what it signals happen together, or not at all.

`python -m unit_of_work.demo` runs it.
"""
