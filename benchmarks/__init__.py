"""What a task costs the client that runs it: ours, the REST SDK, and gRPC alone. Run `python -m benchmarks`."""
