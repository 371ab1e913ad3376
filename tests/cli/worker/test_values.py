"""What the options take, and how mistakes in the command line are told."""

import click
import pytest

from dawdle.cli.worker._values import address, size


@pytest.mark.parametrize(
    ("text", "bytes_"), [("500M", 500 << 20), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("64 kb", 65536), ("4096", 4096)]
)
def test_sizes(text, bytes_):
    assert size(text) == bytes_


@pytest.mark.parametrize("text", ["", "5X", "0M", "-1M", "M", "1..5G"])
def test_what_is_no_size_is_told(text):
    with pytest.raises(click.BadParameter, match="write 500M or 2G"):
        size(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("8080", (None, 8080)),
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:65535", ("::1", 65535)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_addresses(text, where):
    assert address(text) == where


@pytest.mark.parametrize("text", ["", "0", "65536", "http", ":8080", "127.0.0.1:"])
def test_what_is_no_address_is_told(text):
    with pytest.raises(click.BadParameter, match=r"write 8080, or 127\.0\.0\.1:8080"):
        address(text)


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        ((), 2, "Name the app: as the first argument, such as shop.main:app"),
        (("shop:app", "--processes", "0"), 2, "0 is not in the range x>=1"),
        (("shop:app", "--max-rss", "5X"), 2, "'5X' is no size"),
        (("shop:app", "--health-port", "x"), 2, "'x' is no port"),
        (("shop:app", "--relaod"), 2, "--reload"),
        (("shop:app", "--queue", "vidoe"), 1, "--queue vidoe: the app has no queue of that name, it has default"),
        (("shop:ap",), 1, "shop:app"),
        (("shpo:app",), 1, "there is no module 'shpo' here"),
    ],
)
def test_a_mistake_in_the_command_line_is_told(shop, args, code, told):
    ran = shop("worker", *args)
    assert ran.code == code
    assert told in " ".join(ran.err.split())


def test_uvloop_that_is_not_installed_is_told(shop, monkeypatch):
    monkeypatch.setattr("dawdle.cli.worker._work.find_spec", lambda name: None)
    ran = shop("worker", "shop:app", "--uvloop")
    assert (ran.code, ran.err) == (
        1,
        "error: --uvloop needs uvloop, which runs on Linux and macOS: pip install uvloop\n",
    )


def test_several_processes_on_windows_are_refused(shop, monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    ran = shop("worker", "shop:app", "--processes=2")
    assert ran.code == 1
    assert "start several workers" in ran.err


def test_the_help_fits_one_screen(shop):
    ran = shop("worker", "--help", terminal=80)
    assert len(ran.out.splitlines()) <= 40
