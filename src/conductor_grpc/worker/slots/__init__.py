"""How many tasks of a worker may run at this moment."""
