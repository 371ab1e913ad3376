"""`dawdle sqs`: make queues on Amazon SQS, look for mistakes in them, and serve SQS for tests.

create ──► _plan ──► _difference ──► _admin      what should be; what is not; make it so
              └────► _emit                       what should be, in the words of another tool
doctor ──► _doctor.ask ──► _doctor.rules         facts, and what is wrong with them
serve
"""
