"""`python -m simulation`: thousands of schedules, and what is left of the first ones that fail."""

from __future__ import annotations

import sys
import time
from collections import Counter

import click

from simulation.schedule import generate
from simulation.shrink import report
from simulation.world import run, simulate


@click.command()
@click.option("--schedules", default=10_000, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--first", default=0, show_default=True, help="The seed of the first one; the others follow.")
@click.option("--seed", type=int, help="Only this one, unshrunk.")
@click.option("--jobs", callback=lambda *args: _numbers(args[-1]), help="Of that one only these, as 0,2; or none.")
@click.option("--faults", callback=lambda *args: _numbers(args[-1]), help="Likewise.")
@click.option("--most", default=3, show_default=True, help="Ends after so many failures.")
def main(
    schedules: int,
    first: int,
    seed: int | None,
    jobs: tuple[int, ...] | None,
    faults: tuple[int, ...] | None,
    most: int,
) -> None:
    """Explore what faults, in whatever order, do to the poll/ack loop: nothing lost, stranded or run twice.

    Exit code 1 if a schedule failed; each is printed with what is needed to run it again.
    """
    if seed is not None:
        schedule = generate(seed).only(jobs, faults)
        violations = run(schedule)
        click.echo(f"seed {seed}: {'; '.join(violations) or 'nothing wrong'}\n{schedule}")
        sys.exit(bool(violations))
    began, failed, executions, done = time.monotonic(), 0, 0, 0
    fired: Counter[str] = Counter()
    for each in range(first, first + schedules):
        world = simulate(generate(each))
        done += 1
        fired.update(f"{fault.target} {fault.how}".strip() for fault in world.fired)
        executions += sum(workflow.executions for workflow in world.server.workflows)
        if world.violations:
            failed += 1
            click.echo(report(generate(each)))
            if failed >= most:
                break
    seconds = time.monotonic() - began
    click.echo(f"{done} schedules, {executions} tasks run, {failed} failed, {seconds:.1f} s")
    click.echo("faults: " + ", ".join(f"{count} {name}" for name, count in sorted(fired.items())))
    sys.exit(bool(failed))


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    return () if text == "none" else tuple(map(int, text.split(",")))


if __name__ == "__main__":
    main()
