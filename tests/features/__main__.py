"""``PYTHONPATH=tests python -m features`` writes the tables into docs/features.md."""

from features.page import write

write()
