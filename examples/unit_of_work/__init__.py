"""A SQLAlchemy session for each run of a handler: what it writes and what it signals is stored together, or not at all.

- `database`: the tables, and the unit of work about each handler
- `app`: the events and their handlers
- `demo`: orders, each third of which is rolled back once; run it with `python -m unit_of_work.demo`
"""
