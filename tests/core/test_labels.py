"""Raw job ids and client names as label values and object names."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core import labels, names

# As the API server checks them (k8s.io/apimachinery/pkg/util/validation).
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

short_valid = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", fullmatch=True)
job_ids = st.uuids().map(str)
client_names = st.from_regex(r"[a-zA-Z0-9 ._/@:-]{1,100}", fullmatch=True)
realistic = st.one_of(job_ids, client_names, st.text(max_size=80))
anything = st.text(alphabet=st.characters(), max_size=400)


@given(anything)
def test_every_text_becomes_a_valid_label_value(raw: str) -> None:
    value = labels.label_value(raw)
    assert 1 <= len(value) <= 63
    assert LABEL_VALUE.fullmatch(value)


@given(short_valid)
def test_a_valid_short_value_is_left_as_it_is(raw: str) -> None:
    assert labels.label_value(raw) == raw


@given(st.lists(realistic, min_size=2, max_size=20, unique=True))
def test_distinct_values_stay_distinct(raws: list[str]) -> None:
    assert len({labels.label_value(raw) for raw in raws}) == len(raws)


@pytest.mark.parametrize(
    ("raw", "other"),
    [
        ("site 1", "site-1"),
        ("site/1", "site 1"),
        ("Klinikum Süd", "Klinikum Sud"),
        ("-site", "site"),
        ("x" * 64, "x" * 65),
        ("", "-"),
        ("\ud800", "\ud801"),
    ],
)
def test_values_that_look_alike_are_told_apart(raw: str, other: str) -> None:
    assert labels.label_value(raw) != labels.label_value(other)


def test_what_is_readable_stays_readable() -> None:
    assert labels.label_value("Klinikum Süd / site-1").startswith("Klinikum-S-d-site-1-")


@given(st.lists(realistic, min_size=1, max_size=3))
def test_every_object_name_is_a_dns_label(parts: list[str]) -> None:
    for prefix in ("sitelog-", names.UPLOAD_NAME_PREFIX):
        name = labels.object_name(prefix, *parts)
        assert name.startswith(prefix)
        assert len(name) <= 63
        assert DNS_LABEL.fullmatch(name)


@given(st.lists(st.tuples(realistic, realistic), min_size=2, max_size=20, unique=True))
def test_distinct_parts_have_distinct_object_names(pairs: list[tuple[str, str]]) -> None:
    assert len({labels.object_name("sitelog-", *pair) for pair in pairs}) == len(pairs)


def test_the_border_between_parts_counts() -> None:
    assert labels.object_name("sitelog-", "ab", "c") != labels.object_name("sitelog-", "a", "bc")
    assert labels.object_name("sitelog-", "a", "") != labels.object_name("sitelog-", "a")


def test_a_job_id_shows_whole_in_the_name() -> None:
    job_id = str(uuid.UUID(int=7))
    assert labels.object_name("sitelog-", job_id, "site-1").startswith(f"sitelog-{job_id}-")
    assert labels.object_name("sitelog-", job_id, "site-1") != labels.object_name("sitelog-", job_id, "site-2")
