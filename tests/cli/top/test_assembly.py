import pytest

from dawdle.abc import Counts
from dawdle.cli._snapshot import bucket_of
from dawdle.cli.top._prices import dollars_a_month
from tests.cli.top.snapshots import answer, asked, handler, picture, queue, worker


def handler_row(made, name="receipt"):
    return next(row for row in made.handlers if row.name == name)


def test_a_queue_that_was_counted_has_its_own_figures():
    (row,) = picture(queues=[asked(oldest=4.0)]).queues
    assert (row.waiting, row.delayed, row.in_flight, row.oldest, row.dead_letters) == (1204, 12, 57, 4.0, 3)


def test_what_only_workers_know_is_unknown_without_any():
    made = picture(queues=[asked()])
    (row,) = made.queues
    assert made.handlers is None
    assert (row.signaled_per_second, row.received_per_second, row.requests_per_event) == (None, None, None)
    assert row.dollars_per_month is None
    assert any("--health-port" in note and "--workers" in note for note in made.notes)


def test_without_counts_in_flight_is_the_sum_over_the_workers():
    told = [answer(worker(pid=pid, queues=(queue(in_flight=4),))) for pid in (1, 2)]
    (row,) = picture(workers=told).queues
    assert (row.waiting, row.in_flight) == (None, 8)
    (row,) = picture(workers=told, queues=[asked(counts=Counts(waiting=0, in_flight=9, delayed=0))]).queues
    assert row.in_flight == 9, "the queue knows those of workers that were not named, too"


def test_workers_are_added_up_and_their_windows_may_differ():
    first = worker(pid=1, window=10.0, handlers=(handler(recent_runs=100, runs=500, failures=2, running=1),))
    second = worker(pid=2, window=5.0, handlers=(handler(recent_runs=100, runs=100, retries=3, running=2),))
    row = handler_row(picture(workers=[answer(first, second)]))
    assert row.rate == pytest.approx(10 + 20)
    assert (row.processes, row.runs, row.failures, row.retries, row.running) == (2, 600, 2, 3, 3)


def test_the_p99_of_a_fleet_is_not_the_mean_of_the_workers():
    fast = worker(pid=1, handlers=(handler(durations={bucket_of(0.001): 990}),))
    slow = worker(pid=2, handlers=(handler(durations={bucket_of(1.0): 10}),))
    row = handler_row(picture(workers=[answer(fast), answer(slow)]))
    assert row.p50 == pytest.approx(0.001, rel=0.05)
    assert row.p99 == pytest.approx(0.001, rel=0.05)
    slower = worker(pid=2, handlers=(handler(durations={bucket_of(1.0): 11}),))
    assert handler_row(picture(workers=[answer(fast), answer(slower)])).p99 == pytest.approx(1.0, rel=0.05)


def test_a_worker_that_does_not_answer_is_shown_and_takes_nothing_from_the_others():
    good = answer(worker(handlers=(handler(recent_runs=100),)))
    bad = answer(url="http://web-2:8080", error="does not answer: connection refused")
    made = picture(queues=[asked()], workers=[good, bad])
    assert [row.error for row in made.workers] == [None, "does not answer: connection refused"]
    assert handler_row(made).rate == 10
    assert made.queues[0].waiting == 1204


def test_requests_are_counted_for_each_event_and_in_dollars_a_month():
    told = worker(queues=(queue(recent_requests=180, recent_finished=70, recent_copies=10, recent_empty_receives=6),))
    (row,) = picture(workers=[answer(told)]).queues
    assert row.requests_per_event == 3
    assert row.empty_receives_per_minute == 6
    assert row.dollars_per_month == pytest.approx(3 * 2_628_000 * 0.4 / 1e6)


def test_an_idle_worker_costs_what_the_page_on_cost_says():
    # docs/explain/cost.md: 186 requests an hour are $0.05 a month, and 1,859 are $0.54.
    assert round(dollars_a_month(186 / 3600, 0.4), 2) == 0.05
    assert round(dollars_a_month(1859 / 3600, 0.4), 2) == 0.54


def test_a_fifo_queue_costs_more_and_a_file_nothing():
    told = worker(queues=(queue(recent_requests=60, place="123/shop.fifo"),))
    assert picture(workers=[answer(told)]).queues[0].dollars_per_month == pytest.approx(2.628 * 0.5)
    told = worker(queues=(queue(recent_requests=60, system="sqlite"),))
    made = picture(workers=[answer(told)])
    assert made.queues[0].dollars_per_month is None
    assert not any("dollars" in note for note in made.notes)


def test_a_worker_that_has_just_started_has_no_rates_and_no_costs():
    told = worker(window=0.2, queue_window=0.2, handlers=(handler(recent_runs=1),), queues=(queue(recent_requests=9),))
    made = picture(workers=[answer(told)])
    assert (handler_row(made).rate, made.queues[0].received_per_second, made.queues[0].dollars_per_month) == (
        None,
        None,
        None,
    )


def test_the_price_is_told_with_its_source_and_date():
    made = picture(workers=[answer(worker(queues=(queue(recent_requests=1),)))])
    (note,) = [each for each in made.notes if "dollars" in each]
    assert "$0.40" in note
    assert "aws.amazon.com/sqs/pricing" in note
    assert "2026" in note


def test_workers_of_one_app_with_other_handlers_are_told():
    one = worker(pid=1, handlers=(handler(), handler("shipping")))
    two = worker(pid=2, handlers=(handler(types=("OrderPlaced", "OrderCancelled")),))
    (note,) = picture(workers=[answer(one), answer(two)]).notes
    assert "receipt, shipping" in note
    assert "process 2 on web-1" in note
    other = worker(pid=2, app="mail:app", handlers=(handler("mail"),))
    assert picture(workers=[answer(one), answer(other)]).notes == ()


def test_a_worker_on_another_queue_of_the_same_name_is_told():
    (note,) = picture(queues=[asked(place="1/a")], workers=[answer(worker(queues=(queue(place="1/b"),)))]).notes[:1]
    assert "1/a" in note
    assert "1/b" in note


def test_a_process_that_answers_at_two_urls_counts_once():
    told = worker(id="a1", handlers=(handler(runs=5),))
    other = worker(id="b2", handlers=(handler(runs=1),))
    made = picture(workers=[answer(told), answer(told, other, url="http://web:8080"), answer(told, url="http://x")])
    assert handler_row(made).runs == 6
    assert [row.url for row in made.workers] == ["http://web-1:8080", "http://web:8080"]


def test_what_a_queue_refuses_is_told_in_its_row():
    (row,) = picture(queues=[asked(error="access denied", counts=None)]).queues
    assert (row.error, row.waiting) == ("access denied", None)
