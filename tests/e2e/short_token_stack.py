"""A whole installation whose access tokens live for some seconds."""

from pathlib import Path

from tests.e2e.stack import ROOT, SERVICES, Stack

MODULE = "tests.e2e.short_tokens"


class ShortTokenStack(Stack):
    """Like any other stack, started by `short_tokens.py` from a Procfile of its own."""

    command = ("-m", MODULE)

    def __init__(self, folder: Path, seconds: int, **settings: str) -> None:
        self.seconds = seconds
        super().__init__(folder, TOKEN_SECONDS=str(seconds), PYTHONPATH=str(ROOT), **settings)
        # All but the gateway are forks of the supervisor, where the lifetime is set already.
        modules = {name: MODULE if name == "gateway" else "services" for name in (*SERVICES[1:], "gateway")}
        (folder / "Procfile").write_text("".join(f"{n}: python -m {module} {n}\n" for n, module in modules.items()))
        self.cwd = folder
