"""What the benchmark says of its figures; the figures themselves are no matter of a test."""

from __future__ import annotations

import struct
import xml.etree.ElementTree
from pathlib import Path

import pytest

from benchmarks import chart, pairs
from benchmarks.bodies import TRANSFERS
from benchmarks.bounds import BOUNDS, Bound, checklist
from benchmarks.builds import Build
from benchmarks.load import Answered
from benchmarks.measure import Row, Sample
from benchmarks.peers import Others, Peer, main_rows
from benchmarks.processes import BenchmarkError
from benchmarks.request import ends_fcgi_response, fcgi_request, http_request
from benchmarks.tables import table

BUILDS = [Build(Path("gateways"), kind, "") for kind in ("compiled", "pure")]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    others = Others(Path("nowhere"), tmp_path_factory.mktemp("floor"))
    return {Row(*each).name for each in main_rows(BUILDS, others, quick=False)}


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound.build}: {bound.text}")
def test_a_bound_is_of_figures_that_are_measured(bound: Bound, names: set[str]) -> None:
    for name in (bound.ours, *bound.theirs):
        what = name.split()[-1]
        assert name in names or what in TRANSFERS or what == "rss"


def test_peers_that_are_not_installed_say_so(tmp_path: Path) -> None:
    others = Others(tmp_path / "nowhere", tmp_path)
    for peer in (others.uwsgi("fcgi"), others.gunicorn("http"), others.flup(), others.granian()):
        assert "not installed" in peer.problem


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({}, ["", "", "not measured", ""]),
        ({"compiled fcgi kept": 8.0, "floor fcgi kept": 5.0}, ["1.60", "", "reached", ""]),
        ({"compiled fcgi kept": 8.1, "floor fcgi kept": 5.0}, ["1.62", "", "missed", ""]),
        ({"pure fcgi kept": 20.0, "floor fcgi kept": 5.0}, ["", "", "not measured", "4.00"]),
        (
            {
                "compiled fcgi kept": 8.1,
                "floor fcgi kept": 5.0,
                "compiled fcgi kept / floor fcgi kept": 1.5,
            },
            ["1.62", "1.50", "missed", ""],
        ),
        (
            {
                "compiled fcgi kept": 8.0,
                "floor fcgi kept": 5.0,
                "compiled fcgi kept / floor fcgi kept": 1.7,
            },
            ["1.60", "1.70", "missed", ""],
        ),
    ],
)
def test_a_bound_is_reached_missed_or_not_measured(
    figures: dict[str, float], expected: list[str]
) -> None:
    assert checklist(figures).rows[0][-4:] == expected


def test_rows_are_paired_round_by_round_with_the_cheapest_peer() -> None:
    def take(row: Row) -> Sample:
        # A machine that gets slower and slower, and is disturbed in the last round.
        turns.append(row.name)
        cost = (1.5 if row.name == "compiled http kept" else 1.0) * len(turns) ** 2
        if len(turns) == 9:
            cost *= 100
        return Sample(Answered(1, 1.0), cost, cost, 0.0)

    turns: list[str] = []
    kinds = [("compiled", "kept"), ("gunicorn", "new"), ("gunicorn-4", "kept")]
    rows = [Row(Peer(key, "", "http", lambda *_: []), connection) for key, connection in kinds]
    figures = {"compiled http kept": 9.0, "gunicorn http new": 40.0, "gunicorn-4 http kept": 30.0}
    section = pairs.measure(rows, figures, 5, take, lambda text: None)
    assert turns == ["compiled http kept", "gunicorn-4 http kept"] * 5
    ratio = section.figures["compiled http kept / gunicorn-4 http kept"]
    assert ratio == 1.5 * 25 / 36  # of the third round, and not of the last
    assert not any(row.samples for row in rows)


def test_a_pair_that_cannot_be_measured_says_so() -> None:
    def take(row: Row) -> Sample:
        raise BenchmarkError("it ended by itself")

    rows = [Row(Peer(key, "", "fcgi", lambda *_: []), "kept") for key in ("compiled", "floor")]
    figures = {"compiled fcgi kept": 8.0, "floor fcgi kept": 5.0}
    section = pairs.measure(rows, figures, 5, take, lambda text: None)
    assert section.rows == [["compiled fcgi kept", "floor fcgi kept", "it ended by itself"]]
    assert section.figures == {}


def test_the_cheapest_of_several_peers_counts() -> None:
    bound = Bound("", "pure http kept", ("a", "b", "not measured"), 1.0)
    assert bound.ratio({"pure http kept": 6.0, "a": 3.0, "b": 2.0}) == 3.0


def test_the_other_build_is_compared_with_the_same_threads() -> None:
    bound = Bound("", "compiled-4 uwsgi new", ("theirs",), 1.0)
    figures = {"pure-4 uwsgi new": 6.0, "pure uwsgi new": 3.0, "theirs": 3.0}
    assert bound.ratio(figures, "pure") == 2.0


def test_a_chart_is_xml_with_a_bar_for_each_figure() -> None:
    groups = [("a < b", [("x & y", 1.0, True), ("z", 2.0, False)])]
    root = xml.etree.ElementTree.fromstring(chart.bars("title", "µs", groups))
    bars = [each for each in root.iter() if each.get("class") in ("ours", "theirs")]
    assert [each.get("width") for each in bars] == ["280", "560"]


def test_a_chart_of_nothing_is_nothing() -> None:
    assert chart.bars("title", "µs", []) == ""


def test_a_short_row_of_a_table_is_filled_up() -> None:
    assert table(["a", "figure"], [["row"]], 1) == [
        "| a   | figure |",
        "|-----|-------:|",
        "| row |        |",
    ]


def test_the_request_is_that_of_a_browser_in_both_forms() -> None:
    http, fcgi = http_request(), fcgi_request()
    assert http.count(b"\r\n") == 1 + 12 + 1
    kinds, at = [], 0
    while at < len(fcgi):
        _, kind, _, size, padding = struct.unpack_from(">BBHHB", fcgi, at)
        kinds.append(kind)
        at += 8 + size + padding
    assert (kinds, at) == ([1, 4, 4, 5], len(fcgi))
    for line in http.split(b"\r\n")[1:-2]:
        assert line.split(b": ", 1)[1] in fcgi


def test_a_response_ends_with_its_last_record_and_not_before() -> None:
    response = bytes.fromhex("0106000100020600") + b"ok" + bytes(6)
    response += bytes.fromhex("0103000100080000") + bytes(8)
    found = [cut for cut in range(len(response) + 1) if ends_fcgi_response(response[:cut])]
    assert found == [len(response)]
