"""A web shop that answers at once and does the rest through dawdle.

- `events`: what happens in the shop
- `handlers`: what is done about it
- `app`: the web app; run it with `uvicorn --factory shop.app:make_shop`
- `progress`: what the demos show while they run
- `demo`: a thousand orders, counted; run it with `python -m shop.demo`
"""
