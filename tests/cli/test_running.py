"""What every command does alike: finds the app, says what is wrong, ends with an exit code."""

import errno
import os
import subprocess
import sys
from datetime import UTC, datetime
from io import StringIO

import click
import pytest

import dawdle
from dawdle import default_registry
from dawdle.cli import _main
from dawdle.cli._app import AppCommand, load_app, with_app
from dawdle.cli._output import out
from dawdle.cli._running import CommandError, exit_code_of, run_async
from dawdle.cli._values import duration, past, time

SHOP = """
import dawdle
from dawdle.backends.memory import Memory

app = dawdle.Dawdle(Memory())
other = object()

def create_app():
    return dawdle.Dawdle(Memory())
"""


@click.command(cls=AppCommand)
@click.argument("word", required=False)
@click.option("--queue")
@with_app(required=True)
def probe(app, word, queue):
    """Show what a command gets."""
    click.echo(f"{type(app).__name__} {word} {queue}")


@click.command(cls=AppCommand)
@with_app(required=False)
def fails(app):
    """Fail as a command may."""
    del app

    async def main():
        raise dawdle.BackendError("the queue is gone [red]", uncertain=False)

    run_async(main())


@pytest.fixture(autouse=True)
def commands(monkeypatch):
    for name in ("probe", "fails", "prints"):
        monkeypatch.setitem(_main.COMMANDS, name, f"{__name__}:{name}")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


@pytest.mark.parametrize(
    "args",
    [
        ("shop.main:app", "hello"),
        ("--queue", "q", "shop.main:app", "hello"),
        ("--queue=q", "shop.main:app", "hello"),
        ("hello", "--app", "shop.main:app"),
        ("--app", "shop.main:create_app", "hello"),
        ("--app", "shop.main", "hello"),
    ],
)
def test_an_app_is_the_first_argument_or_an_option(cli, args):
    cli.write("shop/main.py", SHOP)
    ran = cli("probe", *args)
    assert (ran.code, ran.out) == (0, f"Dawdle hello {'q' if '--queue' in ' '.join(args) else None}\n"), ran.err


def test_an_app_is_named_in_pyproject_once_and_for_all(cli, monkeypatch):
    cli.write("pyproject.toml", '[tool.dawdle]\napp = "shop.main:app"\n')
    cli.write("src/shop/main.py", SHOP)
    (cli.where / "deep").mkdir()
    monkeypatch.chdir(cli.where / "deep")
    assert cli("probe", "hello").out == "Dawdle hello None\n"


def test_a_command_that_needs_an_app_says_how_to_name_one(cli):
    ran = cli("probe")
    assert ran.code == 2
    assert "shop.main:app" in ran.err
    assert "[tool.dawdle]" in ran.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shop.main:orders", "shop.main has no 'orders'; it has this app: shop.main:app"),
        ("shop.main:other", "shop.main:other is a builtins.object, and no dawdle.Dawdle"),
        ("shop.mainn:app", "there is no module 'shop.mainn' here"),
        ("shpo.main:app", "there is no module 'shpo' here: start dawdle in the directory of your project"),
    ],
)
def test_a_wrong_name_of_an_app_is_told_with_what_there_is(cli, name, text):
    cli.write("shop/__init__.py", "")
    cli.write("shop/main.py", SHOP)
    ran = cli("probe", name)
    assert ran.code == 1
    assert text in ran.err


def test_what_the_users_module_raises_passes_through(cli):
    cli.write("shop.py", "import nowhere")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        load_app("shop:app")


def test_a_module_without_an_app_is_run_by_a_new_one(cli, monkeypatch):
    cli.write("shop.py", "import dawdle\n@dawdle.on_event(name='of-a-module')\ndef f(event: object): ...")
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", "app.db")
    with default_registry.restored():
        assert "app.db" in load_app("shop").describe().queues[0].backend


def test_of_several_apps_one_must_be_named(cli):
    cli.write("shop.py", SHOP + "\nsecond = create_app()")
    with pytest.raises(CommandError, match="these apps: shop:app, shop:second"):
        load_app("shop")


def test_an_error_of_dawdle_is_a_text_and_exit_code_1(cli):
    ran = cli("fails")
    assert (ran.code, ran.out, ran.err) == (1, "", "error: the queue is gone [red]\n")


def test_a_mistake_in_the_command_line_is_exit_code_2(cli):
    ran = cli("probe", "--quue", "q")
    assert ran.code == 2
    assert "--queue" in ran.err


def test_without_the_extra_the_command_says_what_to_install():
    code = (
        "import sys; sys.modules['rich_click'] = None; import importlib.util as u; f = u.find_spec;"
        "u.find_spec = lambda name: None if name == 'rich_click' else f(name); from dawdle.cli import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert 'pip install "dawdle[cli]"' in ran.stderr


def test_python_m_dawdle_is_the_same_command():
    ran = subprocess.run(
        [sys.executable, "-m", "dawdle", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == f"dawdle {dawdle.__version__}\n"


def test_a_pipe_that_closes_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "dawdle", "completion", "bash"]
    ran = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, "")


class ClosedPipe(StringIO):
    def write(self, _):
        raise BrokenPipeError(errno.EPIPE, "broken pipe")

    def fileno(self):
        return -1


@click.command
@click.option("--rich", is_flag=True)
def prints(rich):
    out().print("orders") if rich else click.echo("orders")


@pytest.mark.parametrize("args", [[], ["--rich"]])
def test_a_pipe_that_closes_while_a_command_prints_has_an_exit_code_of_its_own(monkeypatch, args):
    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    assert exit_code_of(lambda: _main.dawdle.main(["prints", *args], standalone_mode=False)) == 141


def test_an_app_that_ends_the_process_ends_it(monkeypatch):
    with pytest.raises(SystemExit, match="7"):
        exit_code_of(lambda: sys.exit(7))


def test_every_command_says_what_it_does_on_one_screen(cli):
    for name in _main.COMMANDS:
        ran = cli(name, "--help")
        assert ran.code == 0
        assert 2 < len(ran.out.splitlines()) <= 60, name


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("1.5s", 1.5), ("250ms", 0.25)]
)
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5 minutes", "m5", "-3", "1h x"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(click.BadParameter, match="5m"):
        duration(text)


def test_times_have_a_zone():
    assert time("2026-11-28T20:00").tzinfo is not None
    assert time("2026-11-28T20:00+02:00") == time("2026-11-28T18:00+00:00")
    with pytest.raises(click.BadParameter, match="2026-11-28T20:00"):
        time("tomorrow")


def test_a_file_that_is_not_there_is_told_and_not_made(cli, monkeypatch):
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", "ap.db")
    ran = cli("dead", "list")
    assert ran.code == 1
    assert "there is no file" in ran.err
    assert "ap.db" in ran.err
    assert not (cli.where / "ap.db").exists()


@pytest.mark.parametrize("word", ["shop", "shop.main"])
def test_a_module_of_the_project_is_an_app_before_other_arguments_too(cli, word):
    cli.write("shop/__init__.py", SHOP)
    cli.write("shop/main.py", SHOP)
    assert cli("probe", word, "hello").out == "Dawdle hello None\n"


def test_a_word_is_no_app_where_pyproject_names_another(cli):
    cli.write("pyproject.toml", '[tool.dawdle]\napp = "shop.main:app"\n')
    cli.write("shop/main.py", SHOP)
    cli.write("orders.py", "")
    assert cli("probe", "orders").out == "Dawdle orders None\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shop.main.app", "shop.main is a module, and no package: did you mean shop.main:app?"),
        ("shop/main.py", "shop/main.py is a file: name its module, shop.main"),
        ("empty", "empty has no app, and registers no handler"),
    ],
)
def test_what_is_nearly_the_name_of_an_app_is_told(cli, name, text):
    cli.write("shop/main.py", SHOP)
    cli.write("empty.py", "")
    ran = cli("handlers", name)
    assert ran.code == 1
    assert text in ran.err


def test_a_wrong_key_of_pyproject_is_told(cli):
    cli.write("pyproject.toml", '[tool.dawdle]\napps = "shop.main:app"\n')
    ran = cli("handlers")
    assert ran.code == 1
    assert "[tool.dawdle] has no apps; it has app" in ran.err


def test_a_wrong_app_of_pyproject_says_where_it_is_named(cli):
    cli.write("pyproject.toml", '[tool.dawdle]\napp = "shopp"\n')
    assert f"{cli.where / 'pyproject.toml'} names it" in cli("handlers").err


def test_a_misspelled_command_is_told_which_one_may_be_meant(cli):
    ran = cli("wokrer")
    assert ran.code == 2
    assert "Did you mean 'worker'?" in ran.err


def test_a_time_of_the_past_may_be_a_duration_ago():
    assert abs((datetime.now(UTC) - past("2h")).total_seconds() - 7200) < 60
    assert past("2026-11-28T20:00+00:00") == time("2026-11-28T20:00+00:00")
    with pytest.raises(click.BadParameter, match="no time"):
        past("yesterday")
