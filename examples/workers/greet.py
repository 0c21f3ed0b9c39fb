"""A worker as a plain function: inputs by name, checked against the annotations before the function runs."""

from __future__ import annotations

from dataclasses import dataclass

from conductor_grpc import worker_task


@dataclass
class Person:
    """The `person` input, a JSON object."""

    name: str
    titles: list[str]
    age: int | None = None


@worker_task("greet", concurrency=4)
def greet(person: Person, greeting: str = "Hello") -> dict[str, str]:
    """Output: `{"message": "Hello Dr. Ada"}`. Still a function, so a test may call it with a `Person`."""
    return {"message": " ".join([greeting, *person.titles, person.name])}
