"""One program in three roles: a web app that only signals, a worker for the heavy queue, and a worker for the rest."""
