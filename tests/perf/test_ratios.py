import json
from itertools import count

import pytest
import torch

from perf.ratios import Timed, arguments, show, timed


def test_the_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    """Where the machine slows down between rounds, the ratio of medians would be another: 4 / 2 = 2."""
    measured = Timed("which", {"ours": [1.0, 4.0, 90.0], "peer": [1.0, 2.0, 30.0]}, to="peer")
    assert measured.ratio("ours") == 2.0
    assert measured.ratio("peer") == 1.0
    assert measured.spread("ours") == (1.0, 3.0)
    assert measured.median("ours") == 4.0


def test_each_way_is_done_once_untimed_and_then_once_per_round_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    clock = count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    measured = timed("which", {"a": lambda: done.append("a"), "b": lambda: done.append("b")}, to="a", rounds=2)
    assert done == ["a", "b", "a", "b", "b", "a"]
    assert measured.seconds == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


def test_a_way_may_return_its_own_seconds() -> None:
    measured = timed("which", {"a": lambda: 7.0, "b": lambda: None}, to="a", rounds=3)
    assert measured.seconds["a"] == [7.0, 7.0, 7.0]
    assert max(measured.seconds["b"]) < 1


def test_the_table_has_seconds_rates_and_ratios() -> None:
    measured = Timed("scoring", {"ours": [2.0], "limit": [1.0]}, to="limit", amount=(1000, "tokens"))
    header, _, ours, limit = measured.table().splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "scoring",
        "seconds",
        "tokens per second",
        "× limit",
    ]
    assert [cell.strip() for cell in ours.strip("|").split("|")] == ["ours", "2", "500", "2.00 [2.00, 2.00]"]
    assert "1.00 [1.00, 1.00]" in limit


def test_json_contains_every_round_and_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments("Scoring.\n\nMore.").parse_args(["--json", "--rounds", "1"])
    show([Timed("scoring", {"ours": [2.0]}, to="ours")], given, model="zoo:large")
    told = json.loads(capsys.readouterr().out)
    assert told["measured"][0]["ways"]["ours"] == {"seconds": [2.0], "median": 2.0, "ratio": 1.0}
    assert told["model"] == "zoo:large"
    assert told["environment"]["threads"] == 2


def test_a_profile_shows_the_shares_of_multiplication_and_of_work_outside_torch() -> None:
    a = torch.rand(600, 600)

    def multiply() -> None:
        for _ in range(20):
            a @ a

    ways = {"torch": multiply, "none": lambda: sum(range(10**6))}
    measured = timed("which", ways, to="torch", rounds=1, profiled=True)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in measured.profile.splitlines()]
    assert rows[0] == ["where the time goes", "torch", "none"]
    shares = {row[0]: [int(share.rstrip("%")) for share in row[1:]] for row in rows[2:]}
    assert shares["aten::mm"][0] > 50 and shares["aten::mm"][1] == 0
    assert shares["outside of torch"][1] > 90
