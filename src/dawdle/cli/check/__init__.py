"""`dawdle check`: what is wrong with an app, its queues and its workers, before events find out."""
