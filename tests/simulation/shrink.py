"""From a schedule that fails to the least of it that still does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.world import run

if TYPE_CHECKING:
    from simulation.schedule import Schedule

    Kept = tuple[tuple[int, ...], tuple[int, ...]]
    """Which jobs and which faults of the whole schedule."""


def shrink(schedule: Schedule) -> Kept:
    """Leaves out one job or fault after the other, for good where it fails without. `schedule` fails."""
    kept = [tuple(range(len(schedule.jobs))), tuple(range(len(schedule.faults)))]
    again = True
    while again:
        again = False
        for side in (1, 0):
            for index in kept[side]:
                fewer = list(kept)
                fewer[side] = tuple(each for each in kept[side] if each != index)
                if fewer[0] and run(schedule.only(*fewer)):
                    kept, again = fewer, True
    return kept[0], kept[1]


def report(schedule: Schedule) -> str:
    """What a failure looks like, shrunk, and how to see it again."""
    jobs, faults = shrink(schedule)
    least = schedule.only(jobs, faults)
    options = f"--seed {schedule.seed} --jobs {_numbers(jobs)} --faults {_numbers(faults)}"
    return "\n".join(
        [
            f"seed {schedule.seed}: {'; '.join(run(least))}",
            str(least),
            f"  again: PYTHONPATH=tests python -m simulation {options}",
        ]
    )


def _numbers(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers)) or "none"
