"""The disk that loses its power: what is synced stays, and of all else any part may."""

from random import Random

from tests.power_cut.disk import Disk, Record, records, text


def done(*steps):
    disk = Disk()
    for what, file, at, data in steps:
        disk.do(Record(what, file, at, data))
    return disk


NEW = [(b"O", 1, 0, b"app.db"), (b"d", 0, 7, b""), (b"D", 0, 7, b"")]


def test_a_write_is_safe_once_a_sync_that_began_after_it_has_ended():
    disk = done(*NEW, (b"W", 1, 0, b"first"), (b"s", 1, 7, b""), (b"W", 1, 5, b"later"), (b"S", 1, 7, b""))
    assert disk.after_a_cut(None) == {"app.db": b"first"}
    assert disk.with_power() == {"app.db": b"firstlater"}


def test_a_sync_that_has_not_ended_makes_nothing_safe():
    assert done(*NEW, (b"W", 1, 0, b"first"), (b"s", 1, 7, b"")).after_a_cut(None) == {"app.db": b""}


def test_what_a_sync_that_failed_should_have_written_is_never_safe_unless_it_is_written_again():
    steps = [*NEW, (b"W", 1, 0, b"first"), (b"s", 1, 7, b""), (b"F", 1, 7, b""), (b"W", 1, 5, b"later")]
    synced = [(b"s", 1, 7, b""), (b"S", 1, 7, b"")]
    disk = done(*steps, *synced)
    assert disk.with_power() == {"app.db": b"firstlater"}
    assert disk.after_a_cut(None) == {"app.db": bytes(5) + b"later"}
    assert done(*steps, (b"W", 1, 0, b"first"), *synced).after_a_cut(None) == {"app.db": b"firstlater"}


def test_a_file_whose_directory_was_not_synced_may_be_gone():
    steps = [(b"O", 1, 0, b"app.db"), (b"W", 1, 0, b"first"), (b"s", 1, 7, b""), (b"S", 1, 7, b"")]
    assert done(*steps).after_a_cut(None) == {}
    assert done(*steps, *NEW[1:]).after_a_cut(None) == {"app.db": b"first"}


def test_a_deleted_file_may_come_back():
    steps = [*NEW, (b"U", 1, 0, b"app.db")]
    assert done(*steps).with_power() == {}
    assert done(*steps).after_a_cut(None) == {"app.db": b""}
    assert done(*steps, *NEW[1:]).after_a_cut(None) == {}


def test_of_what_was_not_synced_any_sector_may_be_missing():
    disk = done(*NEW, (b"W", 1, 0, b"a" * 512 + b"b" * 512), (b"T", 1, 700, b""))
    found = {disk.after_a_cut(Random(seed))["app.db"] for seed in range(200)}
    whole = b"a" * 512 + b"b" * 512
    assert {b"", whole[:512], whole, whole[:700], bytes(512) + whole[512:]} <= found


def test_a_commit_counts_as_synced_if_nothing_is_written_to_the_log_between():
    commit, page = bytes(3) + b"\x01" + bytes(3) + b"\x02" + bytes(16), bytes(4096)
    log = [(b"O", 2, 0, b"app.db-wal"), (b"W", 2, 0, bytes(32)), (b"W", 2, 32, commit), (b"W", 2, 56, page)]
    disk = done(*NEW, *log, (b"s", 2, 7, b""), (b"S", 2, 7, b""), *log[2:], *log[2:])
    assert (disk.commits, disk.synced, disk.restarts, disk.syncs["-wal"]) == (3, 1, 1, 1)


def test_a_journal_is_read_up_to_where_its_writer_was_killed():
    journal = text("stored a") + text("stored b")
    assert [record.data for record in records(journal)] == [b"stored a", b"stored b"]
    assert [record.data for record in records(journal[:-3])] == [b"stored a"]
