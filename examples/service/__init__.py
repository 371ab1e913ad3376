"""A whole service: FastAPI, SQLAlchemy, a queue in the same SQLite file, telemetry, tests, Dockerfile, Kubernetes.

- `settings`: what the environment says
- `database`: the tables, and the session about each request and each handler
- `events`, `handlers`: what happens after an order
- `web`: the endpoints, the probes and the metrics; `python -m service` serves it
- `tests`: by the pytest plugin, in milliseconds
- `Dockerfile`, `kubernetes.yaml`: one pod, its file on a volume, its probes and its grace
"""
