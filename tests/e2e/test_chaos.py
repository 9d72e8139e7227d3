"""No error log is lost silently, none is doubled, none goes under another's name, whatever is killed meanwhile."""

import os
from pathlib import Path

from support.commands import say
from support.kind.bare_pods import BarePods
from support.kind.chaos import KINDS, TAKEN_AWAY, CarefulMonkey, Chaos, End, table
from support.kind.kind import Cluster
from support.kind.site_on_kind import Site
from support.kind.sitelog_on_kind import SitelogOnKind
from support.kind.witness import Witness
from support.wait import wait_for

COUNT = int(os.environ.get("CHAOS_ENDS") or 2 * len(KINDS))
TAKEN_AWAY_COUNT = max(12, COUNT * 3 // 10)
SEED = int(os.environ.get("CHAOS_SEED") or 1)


def test_job_pods_end_while_everything_is_killed(
    cluster: Cluster, sitelog: SitelogOnKind, site: Site, witness: Witness, tmp_path: Path
) -> None:
    before = sitelog.status(site.namespace)["uploads"]
    chaos = Chaos(cluster, site, witness, BarePods(site, tmp_path), SEED)
    ends = chaos.run(COUNT, say)
    site.wait_registered()
    check(chaos, ends)
    sent = sum(end.verdict != "nothing" for end in ends)
    wanted = {**before, "uploaded": before["uploaded"] + sent, "skipped": before["skipped"] + COUNT - sent}
    wait_for(lambda: sitelog.status(site.namespace)["uploads"] == wanted, 60, f"the totals {wanted}", every=1)


def test_job_pods_are_taken_away_while_one_of_two_controllers_is_killed(
    cluster: Cluster, site: Site, witness: Witness, tmp_path: Path
) -> None:
    """The other one has followed every log: none is lost, and no notice tells of one."""
    chaos = Chaos(cluster, site, witness, BarePods(site, tmp_path), SEED)
    ends = chaos.run(TAKEN_AWAY_COUNT, say, TAKEN_AWAY, CarefulMonkey)
    check(chaos, ends)
    assert chaos.killed.total() > 0
    assert [(end.kind.name, end.job_id, end.wrote, end.log) for end in ends if end.verdict != "whole"] == []


def check(chaos: Chaos, ends: list[End]) -> None:
    """Say what became of the logs, and look that none is lost silently, doubled or another one's."""
    say(f"{len(ends)} ends, seed {SEED}; killed: {dict(chaos.killed)}\n{table(ends)}")
    assert [(end.kind.name, end.job_id, end.wrote, end.stored) for end in ends if end.verdict == "LOST"] == []
    assert [(end.job_id, end.strangers) for end in ends if end.strangers] == []
    assert [(end.job_id, end.log) for end in ends if end.doubled] == []
