"""Pollers in several processes, under one that keeps them alive."""

from __future__ import annotations

from conductor_grpc.handler.health import HandlerHealth, ProcessHealth
from conductor_grpc.handler.report import HandlerReport, ProcessReport
from conductor_grpc.handler.task_handler import TaskHandler

__all__ = ["HandlerHealth", "HandlerReport", "ProcessHealth", "ProcessReport", "TaskHandler"]
