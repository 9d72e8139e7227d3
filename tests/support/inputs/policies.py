"""Policies as hypothesis draws them: few names and labels, so that they meet."""

from hypothesis import strategies as st

from sitelog.core.policy.policy import LogStreaming, Mode, OnRevoke, Policy, Streamer
from sitelog.core.policy.selector import Requirement, Selector

ROOT, HERE = "sitelog-system", "fl"

labels = st.dictionaries(st.sampled_from(["app", "site"]), st.sampled_from(["a", "b"]), max_size=2)
requirements = st.builds(
    Requirement,
    st.sampled_from(["app", "site"]),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple),
)
selectors = st.builds(Selector, labels, st.lists(requirements, max_size=1).map(tuple))
policies = st.builds(
    Policy,
    namespace=st.sampled_from([ROOT, HERE, "elsewhere"]),
    name=st.sampled_from("abcdef"),
    created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    log_streaming=st.sampled_from(LogStreaming),
    mode=st.sampled_from(Mode),
    priority=st.integers(-3, 3),
    selector=selectors,
    streamer=st.builds(Streamer, liveness_interval=st.floats(1, 29)),
    on_revoke=st.sampled_from(OnRevoke),
)
many = st.lists(policies, max_size=6, unique_by=lambda policy: policy.key)
