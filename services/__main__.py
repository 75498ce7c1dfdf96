"""Start everything, one service, or a command: `python -m services [--reload] [COMMAND | NAME]`."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shared.start_error import EXIT_CODE, StartError

if TYPE_CHECKING:
    from services.launcher.programs import Program

ON_EVENT_LOOP = ("gateway",)
COMMANDS = {
    "admin": "services.auth.commands:admin",
    "rotate-keys": "services.auth.commands:rotate_keys",
    "seed": "services.launcher.demo_data:main",
}

# Commands import their modules themselves. The supervisor must import no module that gevent patches before it has
# started the programs on an event loop, and no module that its forks do not need.


def main(arguments: list[str], package: str = "services") -> int:
    """Run the command line for the services of the package; return the exit code."""
    reload = "--reload" in arguments
    words = [word for word in arguments if word != "--reload"]
    try:
        _load_dotenv(Path(".env"))
        if not words:
            return _start_all(package, reload)
        if words == ["migrate"]:
            return _migrate(package)
        if words[0] in COMMANDS:
            from importlib import import_module

            module, function = COMMANDS[words[0]].split(":")
            code: int = getattr(import_module(module), function)(words[1:])
            return code
        return _start_one(package, words, reload)
    except StartError as error:
        return _print_error(error)


def _print_error(error: Exception, *more: str) -> int:
    sys.stderr.write("\n".join((str(error), *more, "")))
    return EXIT_CODE


def _load_dotenv(path: Path) -> None:
    """Add the settings of the file to the environment, which takes precedence."""
    if path.is_file():
        from services.launcher.dotenv import read_dotenv

        os.environ |= read_dotenv(path) | dict(os.environ)


def _start_all(package: str, reload: bool) -> int:
    """Run the programs of the Procfile until a signal stops them."""
    from services.launcher.data_dir_lock import lock_data_dir
    from services.launcher.programs import read_procfile
    from services.launcher.supervisor import Supervisor

    programs = read_procfile(Path("Procfile"), ["--reload"] if reload else [])
    if not reload:
        _share_memory(programs, package)
    data_dir, addresses = _ask_child(package, [program.name for program in programs])
    lock = lock_data_dir(data_dir)
    try:
        for program in programs:
            if program.name in addresses:
                program.listen(*addresses[program.name])
    except StartError as error:
        return _print_error(error, "Nothing was started.")
    with lock:
        return Supervisor(programs).run()


def _share_memory(programs: "list[Program]", package: str) -> None:
    """Make the services forks of this process, started after the programs that are not, since gevent patches first."""
    for program in programs:
        name = program.name
        if name not in ON_EVENT_LOOP and program.command == [sys.executable, "-m", package, name]:
            program.serve = partial(main, [name], package)
    programs.sort(key=lambda program: program.serve is not None)


def _ask_child(package: str, names: list[str]) -> tuple[Path, dict[str, tuple[str, int]]]:
    """Check all settings in a child process; return DATA_DIR, and host and port of each service."""
    read_end, write_end = os.pipe()
    if not (child := os.fork()):
        code = 1
        try:
            code = _write_addresses(package, names, write_end)
        except Exception:  # noqa: BLE001 (printed, and the exit code is 1)
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write_end)
    with open(read_end) as addresses:
        data_dir = Path(addresses.readline().rstrip("\n"))
        lines = [line.split() for line in addresses]
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(code)
    return data_dir, {name: (host, int(port)) for name, host, port in lines}


def _write_addresses(package: str, names: list[str], descriptor: int) -> int:
    from services.launcher.discovery import known_services, load_configs

    known = known_services(package)
    try:
        configs = load_configs(package, [name for name in names if name in known])
    except StartError as error:
        return _print_error(error, "Nothing was started.")
    with open(descriptor, "w") as addresses:
        addresses.write(f"{next(iter(configs.values())).data_dir}\n")
        addresses.writelines(f"{name} {config.host} {config.port_of(name)}\n" for name, config in configs.items())
    return 0


def _start_one(package: str, words: list[str], reload: bool) -> int:
    """Serve one service in this process."""
    from importlib import import_module

    from services.launcher.discovery import known_services, load_configs

    name, known = words[0], known_services(package)
    if words != [name] or name not in known:
        raise StartError(
            f"Unknown: {' '.join(words)}. Say one of {', '.join(('migrate', *COMMANDS, *known))}; nothing starts all."
        )
    config = load_configs(package, [name])[name]
    from shared.server.run import GRACE, THREADS, serve

    serve(
        name,
        lambda: import_module(f"{package}.{name}.app").create_app(),
        config,
        port=config.port_of(name),
        events=name in ON_EVENT_LOOP,
        processes=getattr(config, "workers", 1),
        threads=getattr(config, "threads", THREADS),
        reload=reload,
        drain=getattr(config, "drain", GRACE),
    )
    return 0


def _migrate(package: str) -> int:
    """Migrate all databases to the newest schema."""
    from peewee import OperationalError

    from services.launcher.discovery import folder_of, known_services, load_configs
    from shared.database.connection import connect, migrate

    for name, config in load_configs(package, known_services(package)).items():
        variable = f"{name.upper()}_DATABASE_URL"
        if url := getattr(config, "database_url", ""):
            try:
                applied = migrate(connect(url), folder_of(package) / name / "migrations")
            except (OperationalError, OSError) as error:
                raise StartError(f"The database of {name} cannot be used ({error}): check {variable}.") from error
            sys.stdout.write(f"{name}: {', '.join(applied) or 'nothing to do'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
