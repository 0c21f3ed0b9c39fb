"""Generated: the four services, packages conductor.grpc.*."""
