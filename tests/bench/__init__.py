"""The benchmark: `python -m tests.bench`, or `nox -s bench`, which installs the peers first."""
