"""From a worker's signature to checked arguments, and to JSON Schema."""
