"""Definitions onto the server, where they are not there already; nothing is overwritten unless it was asked for."""

from conductor_grpc.registration.declared import Declared, declared_by
from conductor_grpc.registration.registrar import Outcome, Registrar, Registration

__all__ = ["Declared", "Outcome", "Registrar", "Registration", "declared_by"]
