"""The web shop's main job on several machines: one program takes orders, another does what they lead to.

- `events`: what happens
- `app`: the web app, which only signals; run it with `uvicorn orders.app:shop`
- `handlers`: what is done about it
- `journal`: what the handlers write down
- `worker`: runs the handlers; run it with `python -m orders.worker`, as often as there is work for
- `demo`: both on a queue of this machine, with one worker killed; run it with `python -m orders.demo`, or with
  `python -m orders.demo --sqlite` where the queue is a file

Which queue is said by the environment alone; `docs/guides/sqs.md` leads to one on Amazon SQS.
"""
