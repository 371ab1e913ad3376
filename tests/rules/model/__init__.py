"""A small model checker for the rules: every interleaving of two workers with the faults that the world has in store.

The rules under check are the real ones. What surrounds them is modelled here, with no more than it needs. The queue is
a second model of SQS on purpose, beside the test server's: here a whole world must be one value that compares and
hashes, with times relative to now, so that each is visited only once; and an independent model does not share a mistake
of the server's.

    queue      messages: to be seen after some seconds, or held by a worker. Each one is delivered to one worker at a
               time, as long as its lease holds. Dead letters never leave.
    worker     one message at a time (a process with two in flight is two workers):

        idle ── receive ──► admitted ─┬─► runs ── all handlers have an outcome ──► settled ─┐
          ▲                           └────────────────────────────────────────────────────►┤
          │                                                                                 ▼
          │          ┌── all copies stored ◄── sends, one copy after the other ◄── Forward ─┤
          │          ▼                               │                                      │
          ├─────── acks ◄────────────────────────────┼───────────────────────────────── Ack ┤
          └─────── releases ◄── one was not, or in doubt ────────────────────────── Release ─┘

    memory     where a scenario says so, a worker remembers of a message that all is done, or which copies are in doubt,
               until it crashes: should the message come back to it, it does what is left and runs nothing.
    faults     each costs one of a few: a handler that fails, rejects, asks for later or finds no room; a stop that
               interrupts handlers; a crash, at any moment; one copy or a whole batch that is not stored, or is stored
               and the answer lost; a delete and a release whose request or answer is lost; a lease that ends while
               its worker goes on, which may learn of it while its handlers run, and does not learn of it later.
    time       stands still, or moves on to when the next message is to be seen; the workers take as long as that.

The rooms: `world` is what there is at one moment; `truth` calls the rules, and knows beside what each message says what
is true of it; `steps` is what may happen next; `search` visits all there is and tells the story of what broke;
`mutants` are mistakes that it must find.
"""
