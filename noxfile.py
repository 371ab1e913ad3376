"""Everything that is run on this project: `nox` runs the tests and the checks, `nox -l` lists the rest.

What follows `--` goes to the tool: `nox -s tests -- -k retry`, `nox -s demo -- --orders 100`.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nox
from nox import virtualenv
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "uv|virtualenv"  # uv makes an environment in seconds; without it pip does

PROJECT = nox.project.load_toml("pyproject.toml")
VERSIONS = nox.project.python_versions(PROJECT)
OLDEST = VERSIONS[0]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def is_here(version: str) -> bool:
    """Whether a Python runs. That it is on the path is not enough: pyenv keeps a shim for each that is not active."""
    command = shutil.which(f"python{version}")
    if version == HERE or command is None:
        return version == HERE
    answer = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.startswith(f"Python {version}.")


FOUND = [version for version in VERSIONS if is_here(version)]
MISSING = [version for version in VERSIONS if version not in FOUND]
if HERE not in VERSIONS and sys.version_info >= (3, 11):
    FOUND.append(HERE)
if not FOUND:
    sys.exit(f"dawdle needs Python {OLDEST} or later; here are {HERE} and none of {', '.join(VERSIONS)}")
USUAL = None if HERE in FOUND else FOUND[-1]
"""The Python of sessions that need only one: that of nox, unless it is too old."""


PYTEST = ("python", "-m", "pytest", "--timeout=300")
"""Five minutes are for a test that hangs; none takes nearly as long, on a busy machine either."""

ALL_CORES = (f"--numprocesses={2 * (os.cpu_count() or 1)}", "--dist=loadgroup")
"""Two processes of pytest for each core, since many tests wait for processes and sockets; `-- -n 0` runs all in one."""

UV = {"UV": virtualenv.UV} if virtualenv.HAS_UV else {}
"""Tells the tests where uv is, for the environments that they make themselves."""

FAST = ("-m", "not thorough")
FAST_AND_OF_EACH_PYTHON = ("-m", "not thorough and not once")
"""What the sessions that run all tests leave to `nox -s thorough`: the long searches, of which they run a part."""


def install(session: nox.Session, *what: str) -> None:
    """Install into the environment of a session, which then keeps the bytecode that its Pythons compile.

    The tests start a thousand Pythons. uv installs no bytecode, and an environment may forbid to write it: then each of
    them compiles all that it imports, and takes more than twice as long. It is kept beside what was installed, so that
    nothing is written into the tree.
    """
    session.env["PYTHONDONTWRITEBYTECODE"] = None
    session.env["PYTHONPYCACHEPREFIX"] = str(Path(session.virtualenv.location) / "bytecode")
    session.install(*what)


def group(*names: str) -> tuple[str, ...]:
    """Return what dependency groups hold. nox reads them, since pip does so only from version 25.1 on."""
    return nox.project.dependency_groups(PROJECT, *names)


@nox.session(python=FOUND)
def tests(session: nox.Session) -> None:
    """Run the tests on each Python that this machine has."""
    if session.python == FOUND[0]:
        for version in MISSING:
            session.warn(f"python{version}: not on this machine, skipped")
    install(session, "-e", ".", *group("test"))
    # What does not depend on the Python is shown on one of them.
    which = FAST if session.python == FOUND[0] else FAST_AND_OF_EACH_PYTHON
    session.run(*PYTEST, *ALL_CORES, *which, *session.posargs, env=UV)


@nox.session(python=USUAL)
def thorough(session: nox.Session) -> None:
    """Run in full what the tests run a part of: the model in every order, the virtual faults, many more examples."""
    install(session, "-e", ".", *group("test"))
    session.run(*PYTEST, *ALL_CORES, "-m", "thorough", *session.posargs, env=UV)


@nox.session(python=USUAL)
def lint(session: nox.Session) -> None:
    """Check style and format with ruff, and spelling with codespell."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")


@nox.session(python=USUAL)
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright, both strict; each takes one core."""
    install(session, "-e", ".", *group("test", "types"))
    with ThreadPoolExecutor() as pool:
        checks = [pool.submit(session.run, checker) for checker in ("mypy", "pyright")]
    for check in checks:
        check.result()
    session.run(*PYTEST, *ALL_CORES, "tests/typing")


@nox.session(python=OLDEST if OLDEST in FOUND else USUAL)
def lowest(session: nox.Session) -> None:
    """Run the tests on the oldest Python with the oldest of each package that dawdle needs."""
    if OLDEST not in FOUND:
        session.skip(f"python{OLDEST}: not on this machine")
    oldest = [requirement.replace(">=", "==") for requirement in PROJECT["project"]["dependencies"]]
    install(session, "-e", ".", *group("test"), *oldest)
    session.run(*PYTEST, *ALL_CORES, *FAST, *session.posargs, env=UV)


@nox.session(python=USUAL, venv_backend="virtualenv")
def wheel(session: nox.Session) -> None:
    """Build the wheel and run the tests against it, installed as a user has it: `src` is not on the path."""
    folder = Path(session.create_tmp())
    for old in folder.glob("*.whl"):
        old.unlink()
    session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), ".")
    (built,) = folder.glob("dawdle-*.whl")
    install(session, str(built), *group("test"))
    session.install("--force-reinstall", "--no-deps", str(built))
    where = str(session.run("python", "-c", "import dawdle; print(dawdle.__file__)", silent=True)).strip()
    if "site-packages" not in Path(where).parts:
        session.error(f"dawdle was imported from {where}, and not from the wheel")
    session.run(*PYTEST, *ALL_CORES, *FAST, *session.posargs, env=UV)


@nox.session(python=USUAL)
def demo(session: nox.Session) -> None:
    """Place a thousand orders, kill a worker half way, and count what is lost; `-- --sqlite`: in a file."""
    install(session, "-e", ".", *group("shop"))
    session.chdir("examples")
    module = "shop.demo" if "--memory" in session.posargs else "orders.demo"
    session.run("python", "-m", module, *session.posargs)


@nox.session(python=USUAL)
def faults(session: nox.Session) -> None:
    """Break everything that can break, and say what became of it; `-- 9 24`: these rows, `-- --on-sqlite`: on files."""
    install(session, "-e", ".", *group("test"))
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session(python=USUAL)
def soak(session: nox.Session) -> None:
    """Break it all at once, at random, for ten minutes, and count what is lost; `-- --minutes 2` for less."""
    install(session, "-e", ".", *group("test"))
    session.run("python", "-m", "tests.faults.soak", *session.posargs)


@nox.session(python=USUAL)
def schema(session: nox.Session) -> None:
    """Try what `dawdle schema check` says on thousands of pairs of types; `-- 20000`: so many in each direction."""
    session.install("-e", ".", *group("test"))
    examples = session.posargs[0] if session.posargs else "5000"
    path = "tests/cli/schema/test_what_passes_is_read.py"
    session.run("python", "-m", "pytest", path, env={"DAWDLE_EXAMPLES": examples})


SQLITE = {
    "kill": tuple(("tests.journeys.kill", "--sqlite", "--kills", "200", "--processes", count) for count in ("2", "4")),
    "growth": (("tests.journeys.growth",),),
    "power_cut": (("tests.power_cut",),),
}
"""The long runs on a SQLite file, by name."""


@nox.session(python=USUAL)
def sqlite(session: nox.Session) -> None:
    """Kill, fill and cut off what uses a SQLite file, and count what is lost; `-- power_cut --runs 9`: a part of it."""
    install(session, "-e", ".", *group("test"))
    names, more = session.posargs[:1] or SQLITE, session.posargs[1:]
    for name in names:
        for command in SQLITE[name]:
            session.run("python", "-m", *command, *more)


@nox.session(python=USUAL)
def dead(session: nox.Session) -> None:
    """Use `dawdle dead` on a file and on two SQS servers, and end redrives of thousands in the middle: none is lost."""
    session.install("-e", ".", *group("test"))
    session.run(*PYTEST, "tests/cli/dead/journey.py", env=UV)
    for where in ((), ("--sqs",)):
        for end in ("INT", "KILL"):
            session.run("python", "-m", "tests.cli.dead.kill", *where, "--with", end, *session.posargs)


@nox.session(python=USUAL)
def top(session: nox.Session) -> None:
    """Measure what `dawdle top` takes of a CPU beside workers under load, on a file and on SQS; `-- --seconds 10`."""
    session.install("-e", ".", *group("test"))
    session.run("python", "-m", "tests.cli.top.measure", *session.posargs)


@nox.session(python="3.12" if "3.12" in FOUND else FOUND[-1])
def bench(session: nox.Session) -> None:
    """Measure dawdle beside its peers, write the docs' tables; `-- --quick`: fail if a ratio got worse by a quarter."""
    if sys.platform == "win32":
        session.skip("the benchmark reads CPU by getrusage, which Windows lacks")
    install(session, "-e", ".", *group("bench"))
    for queue in group("bench-queues"):
        try:
            session.install(queue)
        except CommandFailed:
            session.warn(f"{queue} cannot be installed here, and is left out")
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session(python=USUAL)
def collector(session: nox.Session) -> None:
    """Export spans and figures through a collector's process. It is a wheel for Linux, so other sessions do without."""
    install(session, "-e", ".", *group("test", "collector"))
    session.run(*PYTEST, "tests/telemetry/test_collector.py", *session.posargs)


@nox.session(python=USUAL)
def fleet(session: nox.Session) -> None:
    """Drive 1 to 1,000 nodes through load, burst, deploy and idling, in virtual time; `-- --quick`: 1 and 10 nodes."""
    install(session, "-e", ".", *group("test"))
    session.run("python", "-m", "tests.fleet", *session.posargs)


@nox.session(python=USUAL, name="lambda")
def aws_lambda(session: nox.Session) -> None:
    """Check the SAM template of the Lambda example by cfn-lint, and measure a cold start."""
    session.install("-e", ".", "cfn-lint>=1.20")
    session.run("cfn-lint", "examples/lambda/template.yaml")
    session.run("python", "-m", "tests.aws_lambda.cold_start", *session.posargs)


@nox.session(python=USUAL)
def cli(session: nox.Session) -> None:
    """Use the commands on a file and on SQS, disturb a worker while 5,000 events come in; `-- --events 500`."""
    session.install("-e", ".", *group("test"))
    session.run(*PYTEST, "tests/cli/journey.py", env=UV)
    for queue in ((), ("--sqlite",)):
        session.run("python", "-m", "tests.journeys.worker", *queue, *session.posargs)


@nox.session(python=USUAL)
def emit(session: nox.Session) -> None:
    """Check what `dawdle sqs create --emit` prints by the tools that read it; Terraform is used if it is here."""
    session.install("-e", ".", *group("test", "emit"))
    # cloudcoil brings a plugin for pytest that wants packages which it does not install.
    session.run(*PYTEST, "-rs", "-p", "no:cloudcoil", "tests/cli/sqs/emitted.py", *session.posargs, env=UV)


@nox.session(python=USUAL)
def sqs(session: nox.Session) -> None:
    """Make, break and mend queues by `dawdle sqs`, as processes, on the SQS test server and on ministack."""
    session.install("-e", ".", *group("test"))
    session.run(*PYTEST, "tests/cli/sqs/journeys.py", *session.posargs, env=UV)


@nox.session(python=USUAL)
def pictures(session: nox.Session) -> None:
    """Draw the pictures of the command in the docs, from real runs; `-- worker top`: these."""
    session.install("-e", ".", *group("test"))
    session.run("python", "-m", "tests.pictures", *session.posargs)


@nox.session(python=USUAL)
def coverage(session: nox.Session) -> None:
    """Run the tests and print which lines and branches of dawdle none of them runs, in whatever process."""
    install(session, "-e", ".", *group("test", "coverage"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", *PYTEST[2:], *ALL_CORES, *FAST, *session.posargs, env=UV)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=USUAL)
def docs(session: nox.Session) -> None:
    """Build the docs; a warning or a dead reference is an error."""
    install(session, "-e", ".", *group("docs"))
    session.run("sphinx-build", "-W", "-n", "--keep-going", *session.posargs, "docs", "docs/_build/html")
