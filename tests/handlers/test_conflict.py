"""Two handlers of one name are refused, and one whose module was executed again takes its own place."""

import functools
import importlib
import subprocess
import sys
import textwrap
import threading

import msgspec
import pytest

import dawdle
from dawdle import Registry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle.errors import ConfigurationError


class A(msgspec.Struct):
    pass


class B(msgspec.Struct):
    pass


def functions(registry):
    return {handler.name: handler.function for handler in registry}


# One run: two handlers


def make(registry, event_type, **options):
    @registry.on_event(event_type, **options)
    async def forward(event): ...

    return forward


def undeclared(function):
    """A decorator that does not use functools.wraps."""

    async def inner(event):
        return await function(event)

    return inner


def test_a_factory_that_runs_twice_makes_two_handlers_and_the_error_says_where():
    registry = Registry()
    first = make(registry, A)
    with pytest.raises(
        ConfigurationError,
        match=r"'tests\.handlers\.test_conflict\.make\.forward' is taken: make\.<locals>\.forward "
        r"\(.*test_conflict\.py, line \d+\) was registered twice.*name=.*functools\.wraps",
    ):
        make(registry, B)
    assert list(functions(registry).values()) == [first]
    assert next(iter(registry)).types == (A,)
    make(registry, B, name="forward.B")
    assert len(functions(registry)) == 2


def test_a_decorator_that_hides_what_it_decorates_makes_two_handlers_of_one_name():
    async def one(event): ...
    async def other(event): ...

    registry = Registry()
    registry.on_event(A)(undeclared(one))
    with pytest.raises(ConfigurationError, match=r"undeclared\.<locals>\.inner .* was registered twice"):
        registry.on_event(B)(undeclared(other))
    registry.on_event(B)(functools.wraps(other)(undeclared(other)))


def test_two_lambdas_are_two_handlers():
    registry = Registry()
    registry.on_event(A)(lambda event: "a")
    with pytest.raises(
        ConfigurationError, match=r"there are two functions, .*<lambda> \(.*line \d+\) and .*line \d+\)"
    ):
        registry.on_event(B)(lambda event: "b")


def test_a_function_that_runs_twice_in_one_app_registers_two_handlers():
    app = dawdle.Dawdle(registry=Registry())

    def set_up():
        async def handle(event: A): ...

        app.register(handle)

    set_up()
    with pytest.raises(ConfigurationError, match="was registered twice"):
        set_up()
    assert app.handler_count() == 1


def test_it_is_no_other_in_a_thread():
    registry, errors = Registry(), []
    make(registry, A)

    def again():
        try:
            make(registry, B)
        except ConfigurationError as error:
            errors.append(error)

    for _ in range(2):
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
    assert len(errors) == 2


# A module, and the module executed again


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a module and imports it, or reloads it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions of a second would be taken for one
    registry = Registry()
    names = []

    def load(text, name="reloaded_shop"):
        (tmp_path / f"{name}.py").write_text(HEAD + textwrap.dedent(text))
        importlib.invalidate_caches()
        names.append(name)
        loaded = sys.modules.get(name)
        if loaded is not None:
            return importlib.reload(loaded)
        return importlib.import_module(name)

    monkeypatch.setattr(sys.modules[__name__], "registry", registry, raising=False)
    yield load
    for name in names:
        sys.modules.pop(name, None)


HEAD = "from tests.handlers.test_conflict import A, B, make, registry, undeclared\n"
HANDLE = """
    @registry.on_event(A)
    async def handle(event): ...
"""


def current():
    return functions(sys.modules[__name__].registry)


def test_a_reload_replaces_a_handler_also_where_its_line_has_moved(module):
    old = module(HANDLE).handle
    for text in (HANDLE, "\n\n\nx = 1\n" + textwrap.dedent(HANDLE)):
        new = module(text).handle
        assert new is not old
        assert current() == {"reloaded_shop.handle": new}


@pytest.mark.parametrize(
    "second",
    [
        "@registry.on_event(B)\nasync def handle(event): ...",
        "async def handle(event): ...\nregistry.on_event(B)(handle)",
        "if True:\n    @registry.on_event(B)\n    def handle(event): ...",
    ],
)
def test_two_functions_of_one_name_in_one_module_are_refused_with_the_line_of_each(module, second):
    text = textwrap.dedent(HANDLE) + "\n\n" + second
    for _ in range(2):
        with pytest.raises(
            ConfigurationError,
            match=r"two functions, handle \(.*shop\.py, line 3\) and handle \(.*shop\.py, line [789]\)\. Give",
        ):
            module(text)
        sys.modules.pop("reloaded_shop", None)


def test_a_factory_is_refused_within_one_run_and_replaces_in_the_next(module):
    text = """
        def made(event_type):
            @registry.on_event(event_type, name=f"of.{event_type.__name__}")
            async def handle(event): ...
        for event_type in (A, B):
            made(event_type)
        forward = make(registry, A)
    """
    module(text)
    before = current()
    module(text)
    after = current()
    assert list(before) == list(after) == ["of.A", "of.B", "tests.handlers.test_conflict.make.forward"]
    assert not set(before.values()) & set(after.values())
    with pytest.raises(ConfigurationError, match="was registered twice"):
        module(text.replace('name=f"of.{event_type.__name__}"', ""))


def test_another_module_that_calls_the_same_factory_makes_another_handler(module):
    module("forward = make(registry, A)")
    with pytest.raises(ConfigurationError, match="was registered twice"):
        module("forward = make(registry, B)", "reloaded_other")


def test_a_module_that_is_forgotten_and_imported_anew_replaces_its_handlers(module):
    module(HANDLE)
    del sys.modules["reloaded_shop"]
    new = module(HANDLE).handle
    assert current() == {"reloaded_shop.handle": new}


def test_a_reload_replaces_methods_partials_and_objects_too(module):
    text = """
        import functools
        class Service:
            async def handle(self, event): ...
            async def __call__(self, event): ...
        service = Service()
        registry.on_event(A, name="method")(service.handle)
        registry.on_event(A, name="object")(service)
        registry.on_event(A, name="partial")(functools.partial(service.handle))
    """
    module(text)
    new = module(text).service
    assert current()["object"] is new
    assert current()["method"] == new.handle
    assert current()["partial"].func == new.handle


def test_a_reloaded_function_that_someone_else_registers_again_takes_its_own_place(module):
    app = AppHandlers(Registry())
    old = module("async def handle(event: A): ...").handle
    app.register(old, (), {})
    new = module("async def handle(event: A): ...").handle
    app.register(new, (), {})
    assert [handler.function for handler in app.handlers] == [new]
    with pytest.raises(ConfigurationError, match="is taken"):
        app.register(old, (), {})


def test_code_that_is_kept_and_executed_for_a_new_module_is_another_run():
    registry = Registry()
    code = compile("@registry.on_event(A)\nasync def handle(event): ...", "page.py", "exec")

    def run():
        names = {"__name__": "page", "__file__": "page.py", "registry": registry, "A": A}
        exec(code, names)
        return names["handle"]

    run()
    new = run()
    assert list(functions(registry).values()) == [new]


# Cells of a notebook


class Notebook:
    """Runs cells as IPython does: each statement by itself, all in one namespace, from a file named after the text."""

    def __init__(self, file_name="/tmp/ipykernel_1/{}.py"):
        self.registry = Registry()
        self.names = {"__name__": "__main__", "registry": self.registry, "A": A, "B": B, "undeclared": undeclared}
        self._file_name = file_name

    def run(self, cell):
        import ast

        cell = textwrap.dedent(cell)
        for statement in ast.parse(cell).body:
            tree = ast.Module([statement], [])
            exec(compile(tree, self._file_name.format(abs(hash(cell))), "exec"), self.names)

    def types(self):
        return {handler.function.__qualname__: handler.types for handler in self.registry}


CELL = """
    @registry.on_event(A)
    async def handle(event): ...
"""
FACTORY = """
    def made(event_type):
        @registry.on_event(event_type)
        async def handle(event): ...
"""


@pytest.mark.parametrize("file_name", ["/tmp/ipykernel_1/{}.py", "<ipython-input-1-{}>", "<stdin>"])
def test_a_cell_that_is_run_again_or_edited_replaces_its_handlers(file_name):
    notebook = Notebook(file_name)
    for cell, event_type in ((CELL, A), (CELL, A), (CELL.replace("A", "B"), B)):
        notebook.run(cell)
        assert notebook.types() == {"handle": (event_type,)}
        (handler,) = notebook.registry
        assert handler.function is notebook.names["handle"]


def test_two_functions_of_one_name_in_one_cell_are_refused():
    notebook = Notebook()
    with pytest.raises(ConfigurationError, match=r"there are two functions, .*line 2\) and .*line 5\)"):
        notebook.run(CELL + CELL)


def test_a_cell_that_calls_a_factory_may_be_run_again_and_another_cell_may_not():
    notebook = Notebook()
    notebook.run(FACTORY)
    notebook.run("made(A)")
    notebook.run("made(A)")
    assert notebook.types() == {"made.<locals>.handle": (A,)}
    with pytest.raises(ConfigurationError, match="was registered twice"):
        notebook.run("made(B)")
    for cell in ("for event_type in (A, B): made(event_type)", "made(A)\nmade(B)"):
        fresh = Notebook()
        fresh.run(FACTORY)
        with pytest.raises(ConfigurationError, match="was registered twice"):
            fresh.run(cell)


def test_two_lines_at_a_prompt_that_call_one_factory_make_two_handlers():
    prompt = Notebook("<stdin>")
    prompt.run(FACTORY)
    prompt.run("made(A)")
    with pytest.raises(ConfigurationError, match="was registered twice"):
        prompt.run("made(B)")


# A program that is also imported

PROGRAM = """
import sys
import msgspec, dawdle

class Placed(msgspec.Struct, frozen=True):
    n: int

@dawdle.on_event
async def receipt(event: Placed) -> None: ...

if __name__ == "__main__":
    import jobs
"""


@pytest.mark.parametrize("how", [["worker.py"], ["-m", "worker"]])
def test_a_program_that_is_also_imported_is_named_as_imported_twice(how, tmp_path):
    (tmp_path / "worker.py").write_text(PROGRAM)
    (tmp_path / "jobs.py").write_text("from worker import Placed\n")
    ended = subprocess.run(
        [sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "worker.py is imported twice: it runs as the program (__main__)" in ended.stderr
    assert "imports it as 'worker'" in ended.stderr


def test_a_handler_of_the_program_has_one_name_in_the_processes_that_it_spawns(tmp_path):
    (tmp_path / "worker.py").write_text(
        PROGRAM.partition("if __name__")[0]
        + textwrap.dedent("""
        from dawdle._app.app import default_registry
        def show():
            print(*(handler.name for handler in default_registry), __name__, flush=True)
        if __name__ == "__main__":
            import multiprocessing
            show()
            child = multiprocessing.get_context("spawn").Process(target=show)
            child.start()
            child.join()
        """)
    )
    ended = subprocess.run(
        [sys.executable, "worker.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.splitlines() == ["worker.receipt __main__", "worker.receipt __mp_main__"]
