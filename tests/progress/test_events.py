"""The events of a run: who receives them, in which order and in which thread."""

import threading

from benchmark.progress.account import Account
from benchmark.progress.events import Events, Listener, Relay
from benchmark.store.artifacts import StageCall
from tests.tiny import Heard

CALL = StageCall("train", 1, {"seed": 1})


def test_listeners_receive_events_in_the_order_in_which_they_were_added() -> None:
    account, seen = Account("trial"), list[int]()

    class Display(Listener):
        def stage_finished(self, call: StageCall) -> None:
            seen.append(account.stages_done)

    account.add(1, 0, [CALL])
    Events(account, Display()).stage_finished(CALL)
    assert seen == [1], "the account counts a stage before the display shows it"


def test_a_listener_hears_events_during_its_block_only() -> None:
    heard = Heard()
    events = Events()
    with events.heard_by(heard):
        events.stage_started(CALL, "worker 1")
        events.stage_progressed(CALL, 1, 9, 400)
    events.note("too late")
    assert heard.all == [(CALL.key, "started", "worker 1"), (CALL.key, "progressed", 1, 9, 400)]


def test_a_relay_delivers_the_events_of_other_threads_in_order_when_asked() -> None:
    threads: list[threading.Thread] = []

    class InThread(Heard):
        def note(self, text: str) -> None:
            super().note(text)
            threads.append(threading.current_thread())

    heard = InThread()
    relay = Relay(Events(heard))

    def report() -> None:
        relay.stage_started(CALL, "node 1")
        relay.stage_progressed(CALL, 1, 9)
        relay.note("tried again")

    thread = threading.Thread(target=report)
    thread.start()
    thread.join()
    assert heard.all == []
    relay.deliver()
    assert [event[:2] for event in heard.all] == [(CALL.key, "started"), (CALL.key, "progressed"), ("tried again",)]
    assert threads == [threading.current_thread()]
