"""discover imports a package's modules, so that their decorators run."""

import sys
import textwrap

import pytest

import dawdle


@pytest.fixture
def package(tmp_path, monkeypatch):
    files = {
        "shopping/__init__.py": "",
        "shopping/events.py": """
            import msgspec
            class Bought(msgspec.Struct): ...
        """,
        "shopping/handlers/__init__.py": "",
        "shopping/handlers/mail.py": """
            import dawdle
            from shopping.events import Bought
            registry = dawdle.Registry()
            @registry.on_event
            async def send(event: Bought): ...
        """,
        "shopping/__main__.py": "raise SystemExit('must not be imported')",
        "breaking/__init__.py": "import no_such_dependency",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in {"shopping", "breaking"}]:
        del sys.modules[name]


@pytest.mark.usefixtures("package")
def test_discover_imports_a_package_and_all_below_it():
    assert dawdle.discover("shopping") == [
        "shopping",
        "shopping.events",
        "shopping.handlers",
        "shopping.handlers.mail",
    ]
    assert [handler.name for handler in sys.modules["shopping.handlers.mail"].registry] == [
        "shopping.handlers.mail.send"
    ]


@pytest.mark.usefixtures("package")
def test_discover_takes_a_single_module_and_several_names():
    assert dawdle.discover("shopping.events", "shopping.events", "shopping.handlers.mail") == [
        "shopping.events",
        "shopping.handlers.mail",
    ]


@pytest.mark.usefixtures("package")
def test_a_name_that_is_no_module_is_an_error_that_says_so():
    with pytest.raises(
        dawdle.ConfigurationError, match=r"discover\('shopping.evnts'\): there is no module 'shopping.evnts'"
    ):
        dawdle.discover("shopping.evnts")


@pytest.mark.usefixtures("package")
def test_what_a_module_itself_lacks_is_not_hidden():
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        dawdle.discover("breaking")
