"""A seeded simulation of the poll/ack loop: the real loop, a server and a clock that are not."""
