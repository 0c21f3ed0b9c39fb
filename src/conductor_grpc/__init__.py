"""Conductor workers and clients over gRPC."""
