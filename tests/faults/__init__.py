"""What breaks between the server's queue and the acknowledged result, made to break: `python -m faults`."""
