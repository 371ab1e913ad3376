"""Which files and folders `--reload` watches, and which changes it sees."""

import asyncio
import sys

import pytest

from dawdle.cli.worker._loaded import loaded_sources, sources_of_error
from dawdle.cli.worker._sources import changes, to_watch

pytestmark = pytest.mark.once


def test_what_is_in_a_folder_that_is_watched_is_not_watched_once_more(tmp_path, monkeypatch):
    here, libs = tmp_path / "here", tmp_path / "libs"
    for each in (here / "shop", libs / "prices" / "tax"):
        each.mkdir(parents=True)
    monkeypatch.chdir(here)
    given = [here / "shop", here / "one.py", libs / "prices", libs / "prices" / "tax", libs / "two.py"]
    watched = to_watch(map(str, given))
    assert watched.folders == {str(here), str(libs / "prices")}
    assert watched.files == {str(libs / "two.py")}


def test_a_file_in_a_folder_that_is_gone_is_not_watched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert to_watch(["/nowhere/one.py"]).files == frozenset()


async def seen(watch, change):
    """Return what is told of a change that is made when the files are watched."""
    async with asyncio.timeout(10):
        asyncio.get_running_loop().call_later(0, change)  # the watch begins in the first step below
        return await anext(watch)


@pytest.mark.anyio
async def test_a_file_that_another_takes_the_place_of_is_seen_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, new, other = tmp_path / "prices.py", tmp_path / "new", tmp_path / "other.py"
    file.write_text("TAX = 19\n")

    def replace():  # as editors and git write
        other.write_text("")
        new.write_text("TAX = 21\n")
        new.replace(file)

    watch = changes({str(file)}, recursive=False)
    for _ in range(3):
        assert await seen(watch, replace) == ["prices.py"]
    await watch.aclose()


def test_the_folders_of_a_package_without_init_are_sources(tmp_path, monkeypatch):
    (tmp_path / "nothing_in_it").mkdir()
    (tmp_path / "nothing_in_it" / "one.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    import nothing_in_it.one  # noqa: F401

    assert str(tmp_path / "nothing_in_it") in set(loaded_sources())
    for name in ("nothing_in_it.one", "nothing_in_it"):
        del sys.modules[name]


def test_the_file_of_an_error_is_a_source_although_it_is_not_loaded(tmp_path, monkeypatch):
    (tmp_path / "calls_it.py").write_text("import is_no_code\n")
    (tmp_path / "is_no_code.py").write_text("def (\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SyntaxError) as raised:
        import calls_it  # noqa: F401
    found = set(sources_of_error(raised.value))
    assert {str(tmp_path / name) for name in ("calls_it.py", "is_no_code.py")} <= found
    assert not any("importlib" in each for each in found)
