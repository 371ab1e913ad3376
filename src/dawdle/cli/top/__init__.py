"""`dawdle top`: what queues and workers do now. The room of the command; each of its modules says what it does.

the command ──► _sources: asks queues (_queues) and workers (_workers) ──► _fleet, _assembly: one picture of it
            ──► _live: again and again, on a _screen          ──► _frame: a picture in lines, by _table and _text
"""
