"""`dawdle signal`: `_lines` reads what is to be signaled, `_storing` stores it, `_command` is the command line."""
