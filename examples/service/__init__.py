"""A whole service: FastAPI, SQLAlchemy, a queue in the same SQLite file, telemetry, tests, Dockerfile, Kubernetes.

- `settings`: what the environment says
- `database`: the tables, and the session about each request and each handler
- `events`, `handlers`: what happens after an order
- `app`: the app of dawdle; `dawdle check service.app:make_app` and the other commands find it there
- `web`: the endpoints, the probes and the metrics; `python -m service` serves it
- `tracing`: its traces, sent to a collector
- `tests`: by the pytest plugin, in milliseconds. `pip install -r service/requirements-test.txt`, then
  `python -m pytest service`
- `Dockerfile`, `kubernetes.yaml`: one pod, its file on a volume, its probes and its grace
"""
