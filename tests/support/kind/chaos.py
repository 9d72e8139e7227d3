"""Many job pods that end in every way while Sitelog and the FL server are being killed; and the account of them."""

import contextlib
import http.client
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self, TypeVar

from sitelog.core.names import ANNOTATION_UPLOAD, FINALIZER_ERROR_LOG
from support.control_plane.api import ApiError, Json
from support.control_plane.control_plane import CommandError
from support.federation.provisioning import SITE
from support.kind.bare_pods import BarePods, written
from support.kind.kind import Cluster
from support.kind.site_on_kind import SERVER, Site
from support.kind.witness import Witness
from support.sitelog.installation import NAMESPACE as RELEASE
from support.wait import wait_for

AT_ONCE = 12  # pods that run at the same time
T = TypeVar("T")
PATIENCE = 60.0  # seconds for an API server that has trouble
TROUBLE = (401, 403, 409, 429, 500, 503, 504)  # at its start an API server knows nobody and no right
SETTLED = 8.0  # seconds for each end, after the last one, in which everything has to be delivered
ERROR_LOG = f"ERRORLOG_{SITE}"
NOTICE = re.compile(rb"sitelog - ERROR - Pod \S+: the job's own error log is (partial|lost): ")
CLOSING = re.compile(rb"^.* - sitelog - CRITICAL - Pod (\S+): (\w+): .*\n", re.MULTILINE)
RECORD = re.compile(rb" - record \d+ of job (\S+)\n")
CUT = re.compile(rb"\A\[sitelog: the first (\d+) bytes of this log were cut.*\n")


@dataclass(frozen=True)
class Kind:
    """A way to end: what the job does, what is done to its pod, and what the closing record may say."""

    name: str
    ending: str
    closing: str | None
    errors: int = 5
    act: str = ""  # what somebody does to it while it runs
    spec: dict[str, object] = field(default_factory=dict)


# The node forgets these logs within seconds: who has not followed them has nothing.
TAKEN_AWAY = (
    Kind("deleted, no grace", "never", "Deleted", act="delete 0"),
    Kind("deleted, grace", "never", "Deleted", act="delete 2"),
    Kind("evicted", "never", "Evicted", act="evict"),
)
KINDS = (
    Kind("nothing to report, exit code 0", "well", None, errors=0),
    Kind("errors, exit code 0", "well", None),
    Kind("exit code", "code", "Error"),
    Kind("signal, in the middle of a line", "killed", "Signalled"),
    Kind("out of memory", "oom", "OOMKilled|Signalled"),  # the container runtime misses an OOM event now and then
    Kind("more than maxBytes", "code", "Error", errors=9000),
    *TAKEN_AWAY,
    Kind(
        "image cannot be pulled, deleted",
        "well",
        "ImagePull|Unschedulable|Deleted",  # a node may have no room at first
        act="delete 0",
        spec={"image": "image.invalid/no:1"},
    ),
    Kind(
        "cannot be scheduled, deleted",
        "well",
        "Unschedulable|Deleted",
        act="delete 0",
        spec={"nodeSelector": {"no": "node"}},
    ),
)


@dataclass
class End:
    """One job pod: what it was to do, and what became of it."""

    kind: Kind
    job_id: str
    pod: Json
    ended_at: float = 0.0
    stored_at: float = 0.0
    wrote: bytes = b""
    stored: dict[str, bytes] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def meant(self) -> bytes:
        """What its worker writes if it runs: a busy witness may come after the file has gone with its pod."""
        return b"" if self.kind.spec else written(self.job_id, self.kind.ending, self.kind.errors)

    @property
    def log(self) -> bytes:
        return self.stored.get(ERROR_LOG, b"")

    @property
    def verdict(self) -> str:
        """whole, notice, nothing (and nothing was to be sent), or LOST."""
        closings, notices = CLOSING.findall(self.log), NOTICE.findall(self.log)
        if self.kind.closing is None and not self.wrote:
            return "LOST" if self.log else "nothing"
        own = CLOSING.sub(b"", self.log)
        if notices and len(closings) == (self.kind.closing is not None):
            return "notice"
        told = [word.decode() for _, word in closings]
        rightly = told[0] in self.kind.closing.split("|") if self.kind.closing and told else not self.kind.closing
        return "whole" if rightly and len(told) == bool(self.kind.closing) and self._is_whole(own) else "LOST"

    def _is_whole(self, own: bytes) -> bool:
        if cut := CUT.match(own):
            kept = own[cut.end() :]
            return self.wrote.endswith(kept) and int(cut[1]) == len(self.wrote) - len(kept)
        return own in (self.wrote, self.wrote + b"\n")

    @property
    def strangers(self) -> set[str]:
        """Names and job ids in what is stored that are not this job's and client's."""
        jobs = {job.decode() for job in RECORD.findall(self.log)} - {self.job_id}
        pods = {pod.decode().rpartition("/")[2] for pod, _ in CLOSING.findall(self.log)} - {self.name}
        return jobs | pods | {name for name in self.stored if name != ERROR_LOG}

    @property
    def doubled(self) -> bool:
        """Whether anything stands there twice."""
        lines = Counter(line for line in self.log.splitlines() if b" - record " in line or b" - CRITICAL - " in line)
        return any(count > 1 for count in lines.values())


class Monkey:
    """Kills something at random every few seconds, in a thread of its own."""

    pause = (4.0, 10.0)
    about = f"something is killed every {pause[0]:g} to {pause[1]:g} s"

    def __init__(self, cluster: Cluster, site: Site, chance: random.Random) -> None:
        self._cluster, self._site, self._chance = cluster, site, chance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.killed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        victims: dict[str, Callable[[], None]] = {
            "one controller": lambda: self._kill(RELEASE, "app.kubernetes.io/component=controller", one=True),
            "all controllers": lambda: self._kill(RELEASE, "app.kubernetes.io/component=controller"),
            "one webhook pod": lambda: self._kill(RELEASE, "app.kubernetes.io/component=webhook", one=True),
            "all webhook pods": lambda: self._kill(RELEASE, "app.kubernetes.io/component=webhook"),
            "FL server": lambda: self._kill(self._site.namespace, f"app.kubernetes.io/name={SERVER}"),
            "an upload": lambda: self._kill(self._site.namespace, "sitelog.dev/upload=true", one=True),
        }
        while not self._stop.wait(self._chance.uniform(*self.pause)):
            name = self._chance.choice([*victims, "one controller"])
            victims[name]()
            self.killed[name] += 1

    def _kill(self, namespace: str, selector: str, *, one: bool = False) -> None:
        pods = self._cluster.api.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)["items"]
        for pod in pods[:1] if one else pods:
            with contextlib.suppress(ApiError):
                path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
                self._cluster.api.delete(path, {"gracePeriodSeconds": 0})


class CarefulMonkey(Monkey):
    """Kills one of two controllers, and the next one only when both are ready again."""

    about = "one of two controllers is killed whenever both are ready"

    def _run(self) -> None:
        pods = f"/api/v1/namespaces/{RELEASE}/pods"
        while not self._stop.wait(1):
            found = self._cluster.api.get(pods, labelSelector="app.kubernetes.io/component=controller")["items"]
            ready = [pod["metadata"]["name"] for pod in found if _is_ready(pod)]
            if len(ready) > 1:
                self._cluster.api.delete(f"{pods}/{self._chance.choice(ready)}", {"gracePeriodSeconds": 0})
                self.killed["one controller"] += 1


def _is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


class Chaos:
    """Runs the ends of one trial, and gives the account of them."""

    def __init__(self, cluster: Cluster, site: Site, witness: Witness, bare: BarePods, seed: int) -> None:
        self._cluster, self._site, self._witness, self._bare = cluster, site, witness, bare
        self._chance = random.Random(seed)
        self.killed: Counter[str] = Counter()

    def run(
        self,
        count: int,
        say: Callable[[str], None],
        kinds_of_end: Sequence[Kind] = KINDS,
        kind_of_monkey: type[Monkey] = Monkey,
    ) -> list[End]:
        """Let so many pods end while the monkey is about, and wait until everything has been delivered."""
        self._bare.prepare()
        kinds = [kinds_of_end[number % len(kinds_of_end)] for number in range(count)]
        jobs = [self._bare.job(f"chaos-{self._chance.getrandbits(40):x}-{number}") for number in range(count)]
        say(f"{count} jobs submitted; their pods end while {kind_of_monkey.about}")
        monkey = kind_of_monkey(self._cluster, self._site, self._chance)
        with monkey, ThreadPoolExecutor(AT_ONCE) as pool:
            ends = list[End]()
            for end in pool.map(self.end_one, kinds, jobs, [self._chance.random() for _ in jobs]):
                ends.append(end)
                if len(ends) % 25 == 0:
                    say(f"{len(ends)} of {count} have ended")
            say(f"all have ended; killed: {dict(monkey.killed)}")
        self.killed = monkey.killed
        self.settle(ends, say)
        return ends

    def end_one(self, kind: Kind, job_id: str, chance: float) -> End:
        """Bring one pod to its end."""
        name = f"chaos-{job_id}"
        end_at = time.time() + 3 + 5 * chance
        path = f"/api/v1/namespaces/{self._site.namespace}/pods/{name}"

        def create() -> Json:
            try:
                return self._bare.create(name, job_id, kind.ending, errors=kind.errors, end_at=end_at, **kind.spec)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                return dict(self._cluster.api.get(path))  # the answer to an earlier try did not arrive

        pod = again(create)
        end = End(kind, job_id, pod)
        if kind.act:
            if not kind.spec:
                wait_for(lambda: self._witness.wrote(pod["metadata"]["uid"]), 90, f"{name} to write", every=1)
            time.sleep(1 + 3 * chance)  # so that some are followed by then and some are not
            self._act(kind, path)
        wait_for(lambda: self._has_ended(path), 120, f"{name} to end", every=0.5)
        end.ended_at = time.time()
        return end

    def _act(self, kind: Kind, path: str) -> None:
        if kind.act == "evict":
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": path.rpartition("/")[2]}}
            options = {"deleteOptions": {"gracePeriodSeconds": 2}}
            again(lambda: self._cluster.api.create(f"{path}/eviction", {**eviction, **options}))
        else:
            grace = int(kind.act.split()[1])
            again(lambda: self._cluster.api.delete(path, {"gracePeriodSeconds": grace}))

    def _has_ended(self, path: str) -> bool:
        try:
            pod = again(lambda: dict(self._cluster.api.get(path)))
        except ApiError as error:
            return error.status == 404
        return pod["status"].get("phase") in ("Succeeded", "Failed") or "deletionTimestamp" in pod["metadata"]

    def settle(self, ends: Iterable[End], say: Callable[[str], None]) -> None:
        """Read what was written and what is stored, until nothing is outstanding."""
        waiting, witnessed = list(ends), self._witness.everything()
        for end in waiting:
            end.wrote = witnessed.get((end.pod["metadata"]["uid"], end.job_id)) or end.meant
        until, told = time.monotonic() + max(120.0, SETTLED * len(waiting)), time.monotonic()
        while waiting and time.monotonic() < until:
            for end in list(waiting):
                end.stored = self._site.stored(end.job_id)
                if end.log or (end.verdict == "nothing" and self._skipped(end)):
                    waiting.remove(end)
            if time.monotonic() - told > 15:
                told = time.monotonic()
                say(f"{len(waiting)} are still to be delivered")
            time.sleep(1)
        # What was stored first may have been replaced by more.
        wait_for(lambda: not self._held(), 120, "the pods to be let go", every=1)
        for end in ends:
            end.stored = self._site.stored(end.job_id)

    def _skipped(self, end: End) -> bool:
        pod = self._cluster.api.get(f"/api/v1/namespaces/{self._site.namespace}/pods/{end.name}")
        return pod["metadata"].get("annotations", {}).get(ANNOTATION_UPLOAD) == "Skipped"

    def _held(self) -> list[str]:
        pods = self._cluster.api.get(f"/api/v1/namespaces/{self._site.namespace}/pods")["items"]
        return [
            pod["metadata"]["name"]
            for pod in pods
            if FINALIZER_ERROR_LOG in pod["metadata"].get("finalizers", ()) and "deletionTimestamp" in pod["metadata"]
        ]


def again(request: Callable[[], T]) -> T:
    """Send a request, again while the API server has trouble: this is not about the one who sends it."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return request()
        except ApiError as error:
            if error.status not in TROUBLE or time.monotonic() > until:
                raise
        except (OSError, http.client.HTTPException, CommandError):
            if time.monotonic() > until:
                raise
        time.sleep(0.5)


def table(ends: Iterable[End]) -> str:
    """Write the account as a table in Markdown."""
    rows: dict[str, Counter[str]] = {}
    for end in ends:
        rows.setdefault(end.kind.name, Counter())[end.verdict] += 1
    total = sum(rows.values(), Counter())
    lines = ["| kind of end | number | whole | with a notice | nothing to send | lost |", "|---|---|---|---|---|---|"]
    for name, row in {**rows, "all": total}.items():
        columns = [row.total(), row["whole"], row["notice"], row["nothing"], row["LOST"]]
        lines.append(f"| {name} | " + " | ".join(map(str, columns)) + " |")
    return "\n".join(lines)
