"""What failed where, and who hears of it."""

from __future__ import annotations

import logging
import threading

from napari_lazyload.loading.status import LoadStatus


def test_a_failure_is_noted_told_once_and_cleared():
    status, heard = LoadStatus(), []
    disconnect = status.connect(lambda *news: heard.append(news))
    assert status.fail("a", 0, (1, 2), "truncated")
    assert not status.fail("a", 0, (1, 2), "truncated")
    assert status.fail("a", 0, (1, 2), "gone")
    status.fail("b", 1, (0,), "empty")
    assert status.failures("a") == {(0, (1, 2)): "gone"}
    assert status.total() == 2
    status.clear("a", 0, (1, 2))
    status.clear("a", 0, (1, 2))
    assert (status.failures("a"), status.total()) == ({}, 1)
    assert heard == [
        ("a", 0, (1, 2), "truncated"),
        ("a", 0, (1, 2), "gone"),
        ("b", 1, (0,), "empty"),
        ("a", 0, (1, 2), None),
    ]
    disconnect()
    disconnect()
    status.forget("b")
    status.forget("b")
    status.fail("a", 0, (0, 0), "gone")
    assert (len(heard), status.total()) == (4, 1)


def test_what_is_handed_out_is_a_copy():
    status = LoadStatus()
    status.fail("a", 0, (0,), "gone")
    status.failures("a").clear()
    assert status.total() == 1


def test_a_listener_that_fails_spoils_no_read_and_keeps_none_from_hearing(caplog):
    status, heard = LoadStatus(), []

    def broken(*_news):
        raise RuntimeError("wrapped C/C++ object has been deleted")

    status.connect(broken)
    status.connect(lambda *news: heard.append(news))
    with caplog.at_level(logging.ERROR):
        assert status.fail("a", 0, (0,), "gone")
    assert len(heard) == 1
    assert "has been deleted" in caplog.text


def test_a_listener_may_ask_and_disconnect():
    status, heard = LoadStatus(), []

    def listener(token, *_news):
        heard.append(status.failures(token))
        disconnect()

    disconnect = status.connect(listener)
    status.fail("a", 0, (0,), "gone")
    status.fail("a", 0, (1,), "gone")
    assert heard == [{(0, (0,)): "gone"}]


def test_many_threads():
    status = LoadStatus()

    def work(number):
        for index in range(200):
            status.fail(f"s{number % 2}", 0, (index,), f"reason {number}")
            status.clear(f"s{number % 2}", 0, (index,))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert status.total() == 0
