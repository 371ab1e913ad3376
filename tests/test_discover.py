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
            @registry.function
            async def post(text: str): ...
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
        "shopping.handlers.mail.send",
        "shopping.handlers.mail.post",
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


def test_without_a_name_it_says_what_to_write():
    with pytest.raises(
        dawdle.ConfigurationError, match=r'needs the name of a package, such as dawdle.discover\("shop"\)'
    ):
        dawdle.discover()


def test_a_module_that_is_not_there_says_where_python_looks_first(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(dawdle.ConfigurationError, match=f"begins with '{tmp_path}': start the program in the folder"):
        dawdle.discover("nowhere")


@pytest.mark.usefixtures("package")
def test_what_a_module_itself_lacks_is_not_hidden():
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        dawdle.discover("breaking")


# Folders without __init__.py


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return a function that writes modules, each of them empty, and makes them importable."""

    def write(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "plainshop"]:
        del sys.modules[name]


def test_discover_finds_modules_in_folders_without_an_init(folders):
    folders("plainshop/deep/deeper/more.py", "plainshop/events.py", "plainshop/handlers/__init__.py")
    folders("plainshop/handlers/mail/receipts.py", "plainshop/handlers/crm.py")
    assert dawdle.discover("plainshop") == [
        "plainshop",
        "plainshop.deep",
        "plainshop.deep.deeper",
        "plainshop.deep.deeper.more",
        "plainshop.events",
        "plainshop.handlers",
        "plainshop.handlers.crm",
        "plainshop.handlers.mail",
        "plainshop.handlers.mail.receipts",
    ]


def test_a_folder_that_holds_no_module_is_no_package(folders, tmp_path):
    folders("plainshop/handlers.py", "plainshop/templates/mail.html", "plainshop/static/js/app.js")
    folders("plainshop/__pycache__/old.py", "plainshop/not-a-name/build.py", "plainshop/.hidden/x.py")
    assert dawdle.discover("plainshop") == ["plainshop", "plainshop.handlers"]


@pytest.mark.parametrize("init", ["plainshop/__init__.py", "plainshop/deep/__init__.py", "plainshop/events.py"])
def test_a_link_that_leads_back_up_is_followed_once_at_most(folders, tmp_path, init):
    folders(init, "plainshop/deep/more.py")
    (tmp_path / "plainshop" / "deep" / "again").symlink_to(tmp_path / "plainshop", target_is_directory=True)
    found = dawdle.discover("plainshop")
    assert {"plainshop", "plainshop.deep", "plainshop.deep.more"} <= set(found)
    assert len(found) <= 5


def test_a_name_whose_parts_are_folders_of_several_paths_is_found_in_each(tmp_path, monkeypatch, folders):
    folders("plainshop/one/a.py")
    other = tmp_path / "other"
    (other / "plainshop" / "two").mkdir(parents=True)
    (other / "plainshop" / "two" / "b.py").write_text("")
    monkeypatch.syspath_prepend(other)
    found = dawdle.discover("plainshop")
    assert {"plainshop.one.a", "plainshop.two.b"} <= set(found)


# What is no name of a module


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("shopping/events", "shopping.events"),
        ("shopping/events.py", "shopping.events"),
        ("shopping/handlers/", "shopping.handlers"),
        ("shopping\\events.py", "shopping.events"),
        ("events.py", "events"),
        ("./shopping", "shopping"),
        ("../shopping/events", "shopping.events"),
        ("shopping/__init__.py", "shopping"),
    ],
)
def test_a_path_is_refused_and_the_error_says_what_to_write(path, instead):
    with pytest.raises(dawdle.ConfigurationError, match="the name of a module.*not a path") as refused:
        dawdle.discover(path)
    assert str(refused.value).endswith(f'dawdle.discover("{instead}")')


@pytest.mark.parametrize("name", ["", ".", ".events", "shopping..events", "shopping.", "/", "a b", 5, None, b"x"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(dawdle.ConfigurationError, match=r'discover\(.*the name of a module.*dawdle.discover\("shop'):
        dawdle.discover(name)


@pytest.mark.usefixtures("package")
def test_nothing_is_imported_when_one_of_the_names_is_a_path():
    with pytest.raises(dawdle.ConfigurationError):
        dawdle.discover("shopping.events", "shopping/handlers")
    assert "shopping" not in sys.modules
