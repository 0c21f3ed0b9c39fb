"""Inputs and outputs as dataclasses: what does not fit fails the task, with its path."""

from dataclasses import dataclass, field
from datetime import date

from conductor_grpc import worker_task


@dataclass
class Item:
    name: str
    price: float
    quantity: int = 1


@dataclass
class Order:
    customer: str
    items: list[Item]
    due: date | None = None
    notes: dict[str, str] = field(default_factory=dict)


@dataclass
class Invoice:
    customer: str
    total: float


@worker_task("invoice")
def invoice(order: Order) -> Invoice:
    """Output: `{"customer": "Ada", "total": 3.5}`."""
    return Invoice(order.customer, sum(item.price * item.quantity for item in order.items))
