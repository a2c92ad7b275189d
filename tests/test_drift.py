"""What is intended against what runs: decided by fingerprints, told by names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_kosli.drift import Drift, Drifted, compare, explain, repository
from pytest_kosli.model import Artifact, NoVerdict, Origin

A, B, C, D = (letter * 64 for letter in "abcd")


def meant(digest: str, name: str, detail: str = "deploy.yaml Deployment/shop") -> Artifact:
    return Artifact(digest, name, Origin("manifest", detail))


def runs(digest: str, name: str, environment: str = "prod") -> Artifact:
    return Artifact(digest, name, Origin("snapshot", f"{environment}#42"), environment)


def compared(
    intended: Iterable[Artifact], running: Iterable[Artifact], left_out: Collection[str] = ()
) -> Drift:
    return compare(intended, running, snapshot="prod", left_out=left_out)


def names(artifacts: Iterable[Artifact]) -> list[str]:
    return [one.name for one in artifacts]


# What is never green.


@pytest.mark.parametrize(
    ("intended", "running", "left_out", "told"),
    [
        ([], [], [], "no artifact was intended: "),
        ([], [runs(A, "web")], [], "no artifact was intended: "),
        ([meant(A, "web")], [], [], "no artifact runs in snapshot prod: "),
        ([], [], ["web"], "no artifact was intended, and 1 name left out by without"),
        ([meant(A, "web")], [], ["x", "y"], "snapshot prod, and 2 names left out by without"),
    ],
)
def test_an_empty_side_is_no_verdict(
    intended: list[Artifact], running: list[Artifact], left_out: list[str], told: str
) -> None:
    with pytest.raises(NoVerdict, match=told) as caught:
        compared(intended, running, left_out)
    assert caught.value.code == "nothing_to_compare"


def test_a_name_proves_nothing() -> None:
    name = "ghcr.io/acme/payments:1.4.0"
    assert compared([meant(A, name)], [runs(B, name)]).drifted


def test_one_digest_is_one_artifact_whatever_it_is_called() -> None:
    drift = compared([meant(A, "payments")], [runs(A, "mirror.example/acme/payments:1.4.0")])
    assert not drift.drifted
    assert names(drift.as_intended) == ["mirror.example/acme/payments:1.4.0"]


def test_a_drift_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match=r"drift\.drifted"):
        bool(compared([meant(A, "web")], [runs(A, "web")]))


# The three lists.


def test_what_only_runs_what_only_was_meant_and_what_runs_otherwise_are_three_lists() -> None:
    drift = compared(
        [meant(A, "ghcr.io/acme/payments:1.5.0"), meant(B, "acme/mailer:12"), meant(D, "web")],
        [runs(C, "ghcr.io/acme/payments:1.4.0"), runs(D, "web"), runs(B[:-1] + "0", "agent")],
    )
    (other,) = drift.other_version
    assert (other.name, names(other.intended), names(other.running)) == (
        "acme/payments",
        ["ghcr.io/acme/payments:1.5.0"],
        ["ghcr.io/acme/payments:1.4.0"],
    )
    assert names(drift.unintended) == ["agent"]
    assert names(drift.missing) == ["acme/mailer:12"]
    assert names(drift.as_intended) == ["web"]
    assert drift.counted == "1 extra, 1 missing, 1 other version"


def test_an_old_version_beside_the_intended_one_is_extra() -> None:
    drift = compared([meant(A, "web:2")], [runs(A, "web:2"), runs(B, "web:1")])
    assert (names(drift.unintended), drift.other_version) == (["web:1"], ())
    assert any("aaaaaaa runs as intended" in line for line in explain(drift))


def test_a_second_intended_version_that_does_not_run_is_missing() -> None:
    drift = compared([meant(A, "web:2"), meant(B, "web:1")], [runs(A, "web:2")])
    assert (names(drift.missing), drift.other_version) == (["web:1"], ())


def test_several_versions_of_one_name_are_told_together_and_not_paired() -> None:
    drift = compared(
        [meant(A, "web:2"), meant(B, "web:canary")], [runs(C, "web:1"), runs(D, "web:0")]
    )
    (other,) = drift.other_version
    assert (len(other.intended), len(other.running)) == (2, 2)


def test_replicas_and_mirrors_of_one_digest_are_one_and_places_are_told_apart() -> None:
    drift = compared(
        [meant(A, "web")],
        [
            *3 * [runs(B, "ghcr.io/acme/agent:1")],
            runs(B, "mirror.example/acme/agent:1"),
            runs(B, "ghcr.io/acme/agent:1", "staging"),
            runs(A, "web"),
        ],
    )
    assert [(one.name, one.environment) for one in drift.unintended] == [
        ("ghcr.io/acme/agent:1", "prod"),
        ("ghcr.io/acme/agent:1", "staging"),
    ]


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*/istio/*", True),
        ("proxyv2", True),
        ("proxy?[2]", True),
        ("istio", False),
        ("ProxyV2", False),
        ("proxyv2:*", False),
    ],
)
def test_a_pattern_fits_the_whole_name_or_the_short_one(pattern: str, fits: bool) -> None:
    sidecar = runs(B, "docker.io/istio/proxyv2:1.20")
    assert sidecar.is_named(["nothing", pattern]) == fits
    assert not sidecar.is_named([])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ghcr.io/acme/payments:1.4.0@sha256:" + A, "acme/payments"),
        ("localhost:5000/acme/payments:1.4.0", "acme/payments"),
        ("acme/payments", "acme/payments"),
        ("nginx:1.27", "nginx"),
        ("docker.io/library/nginx", "nginx"),
        ("mirror.example/nginx", "nginx"),
        ("bitnami/nginx", "bitnami/nginx"),
        ("invoice-mailer", "invoice-mailer"),
        ("app-1.0-py3-none-any.whl", "app-1.0-py3-none-any.whl"),
        ("aaaaaaa", "aaaaaaa"),
        ("", ""),
    ],
)
def test_a_version_is_of_an_images_repository(name: str, told: str) -> None:
    assert repository(Artifact(A, name)) == told


# The text.


def test_the_text_shows_all_three_lists_and_where_each_entry_is_from() -> None:
    index = Origin(
        "flag",
        "oci:ghcr.io/acme/payments:1.5.0",
        "the index digest",
        hints=("of no use", f"amd64 {C}"),
    )
    drift = compared(
        [
            Artifact(A, "ghcr.io/acme/payments", index),
            meant(B, "acme/mailer:12"),
            meant(D, "web"),
        ],
        [runs(C, "ghcr.io/acme/payments:1.4.0@sha256:" + C), runs(D, "web"), runs("e" * 64, "x")],
    )
    assert explain(drift) == [
        "drift in prod: 1 extra, 1 missing, 1 other version",
        "  runs, but was not intended:",
        "    - x eeeeeee, from snapshot prod#42",
        "  was intended, but does not run:",
        "    - acme/mailer:12 bbbbbbb, from manifest deploy.yaml Deployment/shop",
        "  runs in another version:",
        "    - acme/payments",
        "      intended ghcr.io/acme/payments aaaaaaa, from flag",
        "        oci:ghcr.io/acme/payments:1.5.0, the index digest",
        "      running ghcr.io/acme/payments:1.4.0 ccccccc, from snapshot prod#42",
        f"      amd64 {C}",
        "  as intended  1 artifact",
        "  next  deploy what was intended, or correct what names it, then run this",
        "        again",
        "  docs  https://pytest-kosli.readthedocs.io/en/stable/errors/#drifted",
    ]
    assert str(Drifted(drift)).splitlines() == explain(drift)


def test_an_empty_list_is_shown_as_none_and_what_was_left_out_is_named() -> None:
    lines = explain(compared([meant(A, "web")], [runs(B, "x"), runs(A, "web")], ["y"]))
    assert lines[0] == "drift in prod: 1 extra"
    assert "  was intended, but does not run: none" in lines
    assert "  runs in another version: none" in lines
    assert "  left out  1 by without: y" in lines


def test_a_long_list_is_cut_and_the_cut_is_told() -> None:
    every = [runs(f"{number:064x}", f"app{number}") for number in range(1000)]
    lines = explain(compared([meant(A, "web")], [runs(A, "web"), *every]))
    assert "    - and 950 more" in lines
    assert len(lines) < 70


# Of all of it.

QUICK = settings(deadline=None, max_examples=50)
DIGESTS = st.sampled_from([digit * 64 for digit in "012345"])
NAMES = st.one_of(
    st.sampled_from(["ghcr.io/acme/web:1", "acme/web:2", "web", "nginx", "x.y/nginx@sha256:" + A]),
    st.text(max_size=20),
)
ARTIFACTS = st.lists(
    st.builds(Artifact, DIGESTS, NAMES, st.builds(Origin, st.just("call"), NAMES)), min_size=1
)


def digests(artifacts: Iterable[Artifact]) -> set[str]:
    return {one.fingerprint for one in artifacts}


@given(ARTIFACTS, ARTIFACTS)
@QUICK
def test_there_is_no_drift_if_and_only_if_the_digests_are_the_same(
    intended: list[Artifact], running: list[Artifact]
) -> None:
    drift = compared(intended, running)
    assert drift.drifted == (digests(intended) != digests(running))


@given(ARTIFACTS, ARTIFACTS)
@QUICK
def test_each_difference_stands_in_one_list_and_nothing_else_does(
    intended: list[Artifact], running: list[Artifact]
) -> None:
    drift = compared(intended, running)
    extra = [*drift.unintended, *chain(*(one.running for one in drift.other_version))]
    lost = [*drift.missing, *chain(*(one.intended for one in drift.other_version))]
    assert digests(extra) == digests(running) - digests(intended)
    assert digests(lost) == digests(intended) - digests(running)
    assert digests(drift.as_intended) == digests(running) & digests(intended)
    for listed in (extra, lost, drift.as_intended):
        places = [(one.fingerprint, repository(one)) for one in listed]
        assert len(places) == len(set(places))


@given(ARTIFACTS, ARTIFACTS, st.randoms())
@QUICK
def test_neither_order_nor_repetition_changes_anything_that_is_told(
    intended: list[Artifact], running: list[Artifact], random: Random
) -> None:
    drift = compared(intended, running)
    again = [*intended, *intended], [*running, *running]
    for side in again:
        random.shuffle(side)
    assert compared(*again).counted == drift.counted


@given(ARTIFACTS, ARTIFACTS, st.text(max_size=100))
@QUICK
def test_the_text_is_harmless_and_short_and_names_every_digest(
    intended: list[Artifact], running: list[Artifact], snapshot: str
) -> None:
    drift = compare(intended, running, snapshot=snapshot)
    lines = explain(drift)
    assert len(lines[0]) <= 60
    assert all(line.isprintable() for line in lines)
    text = "\n".join(lines)
    for digest in digests(intended) ^ digests(running):
        assert digest[:7] in text
