"""Where the examples are.

There is one copy of them in the sources, `examples/` at the root, which is what the guide shows and what people
edit. The wheel carries that same folder as `conductor_grpc/examples`; an editable install does not copy it, so
that what runs is what was edited.
"""

from __future__ import annotations

from pathlib import Path

import conductor_grpc
from conductor_grpc.errors import ConfigurationError


def examples_folder() -> Path:
    """The folder with `main.py`, `workers/` and `definitions/`. Raises ConfigurationError."""
    package = Path(conductor_grpc.__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / "main.py").is_file():
            return folder
    raise ConfigurationError(f"the examples are not beside {package}: pass the folder, --examples DIR")
