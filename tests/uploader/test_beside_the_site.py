"""The uploader beside NVFlare's own SiteLogStreamer, on a real FL server: one job, one client, one staging file."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sitelog.core.errorlog import records
from sitelog.core.names import EXIT_DELIVERED
from sitelog.uploader import upload as uploader
from support.federation.federation import COURIER, MEMBER, Federation
from support.federation.second_sender import SecondSender
from support.federation.uploader_process import StartUpload, Upload
from support.wait import wait_for

RECORD = b"2026-01-01 10:00:00,000 - Worker - ERROR - broken, and more than that\n"
THEIRS = RECORD * 4000  # several of NVFlare's pieces of 64 KiB
CLOSING = b"2026-01-01 10:00:01,000 - sitelog - CRITICAL - Pod fl/job: OOMKilled: out of memory\n"
OURS = THEIRS + CLOSING
SETTLED = (EXIT_DELIVERED, "ErrorLogUploaded", True)

StartSender = Callable[[str, bytes], SecondSender]


@pytest.fixture
def site(federation: Federation, job: str, tmp_path: Path) -> Iterator[StartSender]:
    """Start the site's own upload: `site(client_name, log)`."""
    with contextlib.ExitStack() as senders:

        def start(client_name: str, log: bytes) -> SecondSender:
            sender = SecondSender(tmp_path / f"site-{client_name}", federation.kit(MEMBER), job, client_name, log)
            senders.callback(sender.close)
            return sender

        yield start


@pytest.fixture
def stored(federation: Federation, job: str) -> Callable[[str], bytes | None]:
    return lambda client: federation.stored(job).get(f"ERRORLOG_{client}")


def check(done: Upload, federation: Federation, job: str, client: str, log: bytes = OURS) -> None:
    """Look at the end of an upload and at what is left of both on the server."""
    assert done.end == SETTLED, done.text()
    assert federation.stored(job)[f"ERRORLOG_{client}"] == log
    assert [name for name in federation.stored(job) if client in name] == [f"ERRORLOG_{client}"]


def test_the_site_was_earlier(federation: Federation, job: str, upload: StartUpload, site: StartSender) -> None:
    site("earlier", THEIRS[:2970]).finish()
    assert federation.stored(job)["ERRORLOG_earlier"] == THEIRS[:2970]
    check(upload(federation.kit(MEMBER), job, "earlier", OURS), federation, job, "earlier")


def test_the_site_is_later(
    federation: Federation, job: str, upload: StartUpload, site: StartSender, stored: Callable[[str], bytes | None]
) -> None:
    sender = site("later", THEIRS[:2970])
    sender.send_pieces(0)  # it is ready
    ours = upload(federation.kit(MEMBER), job, "later", OURS, settling=uploader.SETTLING)
    wait_for(lambda: stored("later") == OURS, 60, "our log to be stored")
    sender.finish()
    check(ours, federation, job, "later")
    assert "sent 2 times" in ours.result["message"]


def test_the_site_is_under_way(
    federation: Federation, job: str, upload: StartUpload, site: StartSender, stored: Callable[[str], bytes | None]
) -> None:
    sender = site("beside", THEIRS)
    sender.send_pieces(2)
    ours = upload(federation.kit(MEMBER), job, "beside", OURS, settling=uploader.SETTLING)
    wait_for(lambda: stored("beside"), 60, "something to be stored")
    sender.finish()
    check(ours, federation, job, "beside")


def test_both_at_once(federation: Federation, job: str, upload: StartUpload, site: StartSender) -> None:
    """Whoever comes first, three times over."""
    clients = [f"at-once-{number}" for number in range(3)]
    senders = [site(client, THEIRS) for client in clients]
    for sender in senders:
        sender.send_pieces(0)
    uploads = [upload(federation.kit(MEMBER), job, client, OURS, settling=uploader.SETTLING) for client in clients]
    for sender in senders:
        sender.go_on()
    for client, sender, ours in zip(clients, senders, uploads, strict=True):
        sender.finish()
        check(ours, federation, job, client)


def test_the_whole_log_of_the_site_stays_where_ours_was_cut(
    federation: Federation, job: str, upload: StartUpload, site: StartSender
) -> None:
    site("whole", THEIRS).finish()
    ours = upload(federation.kit(MEMBER), job, "whole", records.cut(OURS, 4096))
    check(ours, federation, job, "whole", THEIRS + CLOSING)


def test_a_kit_that_may_not_look_sends_again(
    federation: Federation, job: str, upload: StartUpload, site: StartSender, stored: Callable[[str], bytes | None]
) -> None:
    sender = site("unseen", THEIRS)
    sender.send_pieces(2)
    ours = upload(federation.kit(COURIER), job, "unseen", OURS, settling=uploader.SETTLING)
    wait_for(lambda: stored("unseen"), 60, "something to be stored")
    sender.finish()
    assert ours.end == (EXIT_DELIVERED, "ErrorLogUploadedUnverified", False)
    assert stored("unseen") == OURS
