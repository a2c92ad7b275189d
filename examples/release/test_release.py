"""Tonight's release of the shop: may it go to production, according to Kosli?"""

import pytest

PAYMENTS = (
    "ghcr.io/acme/payments:1.4.0"
    "@sha256:e49d56120c409cfec03af85664663d1b380312fe9c275eab3c18dc06d6bec895"
)
LEDGER = (
    "ghcr.io/acme/ledger:0.9.1"
    "@sha256:d4d1d5da5d1ab6d874cae3249f13884cbf9375c918c0531047e2c4330f224a78"
)


@pytest.mark.kosli(PAYMENTS, environment="prod")
def test_payments_may_go_to_production(kosli_artifact):
    """The body runs only once Kosli has called the artifact compliant."""
    assert kosli_artifact.details.repo_info.name == "acme/payments"


@pytest.mark.kosli(LEDGER, environment="prod")
def test_the_hotfix_was_allowed_by_somebody(kosli_artifact):
    """Allow-listed is not compliant: it passes, and the summary says who allowed it and why."""
    assert kosli_artifact.verdict.allow_listing.why.startswith("INC-42")


@pytest.mark.kosli(snapshot="staging")
def test_everything_in_the_rehearsal_is_compliant():
    """One test for each artifact that runs in staging, judged against staging's policies."""


@pytest.mark.kosli(repo="acme/payments", environment="staging")
def test_what_runs_of_a_repository_is_compliant(kosli_artifact):
    assert kosli_artifact.environment == "staging"


@pytest.fixture(scope="session")
def rollout(assert_compliant):
    """A fixture that would deploy: it gates itself, whichever test asks for it first."""
    verdict = assert_compliant(PAYMENTS, policy=["provenance", "vulnerability-scan"])
    return f"kubectl set image deployment/payments app={verdict.artifact.pinned}"


def test_the_rollout_ships_what_was_judged(rollout):
    assert rollout.endswith(PAYMENTS.rpartition("@")[2])
