"""Goals: which are met, and that nothing is lost without a word about it."""

import pytest

from benchmarks.judge import goals, losses
from benchmarks.pages import sections
from benchmarks.scenarios import catalogue
from benchmarks.scenarios.loops import EPOLL

NAME = "tcp-protocol-64-16k"       # goal: a ratio of 1.10
DEFAULT = {scenario.name: scenario for scenario in catalogue.CATALOGUE
           if scenario.default}


def sample(value, cpu_us=10.0):
    return {"value": value, "requests": 1, "cpu_us": cpu_us, "p50_us": 1.0,
            "p99_us": 2.0, "disturbed": 0.0}


def record(name=NAME, ours=110.0, uvloop=100.0, cpu_us=10.0):
    scenario = DEFAULT[name]
    return {"name": name, "title": scenario.title, "group": scenario.group,
            "unit": scenario.unit, "higher_is_better": scenario.higher_is_better,
            "baseline": "uvloop", "loops": {
                "uvloop": {"samples": [sample(uvloop)] * 3},
                "uring_loop": {"samples": [sample(ours, cpu_us)] * 3}}}


def verdict(**options):
    stored = record(**options)
    result, = goals.verdicts({stored["name"]: stored})
    return result


@pytest.mark.parametrize(("ours", "met"), [(110.0, True), (109.6, True),
                                           (109.4, False)])
def test_a_ratio_is_judged_as_it_is_shown(ours, met):
    assert verdict(ours=ours).met == met


@pytest.mark.parametrize(("cpu_us", "met"), [(7.4, True), (7.5, False)])
def test_a_goal_in_cpu_time_does_not_look_at_throughput(cpu_us, met):
    assert verdict(name="tcp-protocol-64-1k", ours=1.0, cpu_us=cpu_us).met == met


@pytest.mark.parametrize(("ours", "met"), [(0.9, True), (0.91, False)])
def test_a_value_must_not_be_exceeded(ours, met):
    assert verdict(name="memory", ours=ours, uvloop=9.0).met == met


def test_what_failed_has_not_met_its_goal():
    stored = record()
    stored["loops"]["uring_loop"] = {"samples": [], "error": "process ended"}
    result, = goals.verdicts({NAME: stored})
    assert not result.met
    assert "failed" in sections.goals_section({NAME: stored})


def test_a_goal_that_is_met_is_no_loss():
    stored = {NAME: record()}
    assert losses.unexplained(stored, {}) == []
    assert "Nothing is below" in sections.losses_section(stored, {})
    assert "1 of 1 goals are met" in sections.goals_section(stored)


def test_a_loss_without_a_reason_is_told():
    stored = {NAME: record(ours=105.0)}
    assert losses.unexplained(stored, {}) == [NAME]
    assert sections.NO_REASON in sections.losses_section(stored, {})
    assert "**missed**" in sections.goals_section(stored)


def test_a_loss_comes_with_its_reason():
    stored = {NAME: record(ours=105.0)}
    said = sections.losses_section(stored, {NAME: "The moon was full."})
    assert said.endswith("1.05 (1.05–1.05), goal ratio ≥ 1.1. The moon was full.")
    assert losses.unexplained(stored, {NAME: "The moon was full."}) == []


def test_whatever_is_below_the_baseline_is_a_loss():
    name = "tcp-protocol-1000-1k"
    assert losses.unexplained({name: record(name, ours=99.0)}, {}) == [name]
    assert losses.unexplained({name: record(name, ours=100.0)}, {}) == []


def epoll_record(name=NAME, epoll=110.0, cpu_us=10.0):
    stored = record(name)
    stored["loops"][EPOLL] = {"samples": [sample(epoll, cpu_us)] * 3}
    return {name: stored}


@pytest.mark.parametrize(("epoll", "met"), [(109.6, True), (109.4, False)])
def test_the_mean_of_the_epoll_driver_has_a_goal_of_its_own(epoll, met):
    records = epoll_record(epoll=epoll)
    assert goals.epoll_verdict(records).mean_is_met == met
    said = sections.goals_section(records)
    assert f"geometric mean is {epoll / 100:.2f}, the goal 1.10: " + (
        "met" if met else "**missed**") in said


@pytest.mark.parametrize(("epoll", "verdict"), [(94.6, "met"), (94.4, "**missed**")])
def test_no_row_of_the_epoll_driver_may_be_under_the_floor(epoll, verdict):
    records = epoll_record(epoll=epoll)
    said = sections.goals_section(records)
    assert f"No row may be under 0.95: {verdict}" in said
    assert f"| {epoll / 100:.2f} | {verdict} |" in said


def test_a_row_without_a_goal_is_under_the_floor_too():
    records = epoll_record("tcp-protocol-1000-1k", epoll=90.0)
    assert "under 0.95: **missed**, by TCP echo Protocol, 1,000 connections, 1 KiB " \
        "(0.90)." in sections.epoll_sentence(records)


def test_the_epoll_driver_is_judged_by_cpu_time_where_the_goal_is():
    records = epoll_record("tcp-protocol-64-1k", epoll=50.0, cpu_us=8.0)
    assert goals.epoll_verdict(records).below == []


@pytest.mark.parametrize(("missing", "word"), [(True, "missing"), (False, "failed")])
def test_the_epoll_driver_without_a_result_has_missed_its_row(missing, word):
    records = epoll_record()
    records[NAME]["loops"][EPOLL] = {"samples": [], "error": "E", "missing": missing}
    assert f"| {word} | **missed** |" in sections.goals_section(records)


def test_a_page_without_the_epoll_driver_says_so():
    assert "The epoll driver was not measured." in sections.goals_section(
        {NAME: record()})


def test_every_goal_has_its_scenario_in_a_plain_run():
    assert goals.SCENARIOS <= set(DEFAULT)


def test_every_reason_is_one_for_a_scenario():
    assert set(losses.load_reasons()) <= set(DEFAULT)


def test_results_of_other_conditions_have_a_table_of_their_own():
    stored = record()
    stored.update(busy=True, host={"commit": "0123abc"})
    text, = sections.beside_sections({"busy.json": {NAME: stored},
                                      "python-3.14.json": {}})
    assert "## With busy neighbours" in text and "0123abc" in text
    assert f"| {stored['title']} | 1 | 1.10 (1.10–1.10) |" in text
