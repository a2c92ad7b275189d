"""Every way in which a release is stopped: FAILED for a verdict, ERROR for no verdict."""

import pytest

WEB = (
    "ghcr.io/acme/web:2.3.1@sha256:0722a81be99bd0aed9e4bcdf839ca9fd5b545349d1b72aaec5e89d115341c38c"
)
ORDERS = "sha256:daaf08e9c782d1826aae042f959c738eadf4f7798a6a985d304048bf0a0a0b0f"
GATEWAY = "gateway=sha256:69278fa670bec371b36ca03ecd29dd801456565b369fb54e2d74261ae695c224"
SEARCH = "search=sha256:e3cd926feace73da07339a8ecb6097de4f22355e0e0ad24ff7312b9a64fffee3"
CRON = "cron=sha256:406064b7d9c3be1a90b0e7ba4e83c7e6d0d1dcb5a068d3762b4e534f3225e234"
PAYMENTS = "payments=sha256:e49d56120c409cfec03af85664663d1b380312fe9c275eab3c18dc06d6bec895"


@pytest.fixture
def deploy():
    raise AssertionError("nothing of a refused test is set up, so this never runs")


# FAILED: Kosli gave a verdict, and it refuses the artifact.


@pytest.mark.kosli(WEB, environment="prod")
def test_an_attestation_is_missing(deploy): ...


@pytest.mark.kosli(f"orders={ORDERS}", environment="prod")
def test_a_control_was_not_decided(deploy): ...


@pytest.mark.kosli(GATEWAY, flow="*")
def test_one_of_two_flows_is_not_compliant(deploy): ...


@pytest.mark.kosli(CRON, environment="prod")
def test_kosli_does_not_know_the_artifact(deploy): ...


def test_several_are_refused_together(assert_compliant):
    assert_compliant([PAYMENTS, SEARCH, CRON], environment="prod")


# ERROR: there is no verdict, so nothing may rely on it.


@pytest.mark.kosli(PAYMENTS, environment="production")
def test_the_environment_is_misspelt(deploy): ...


@pytest.mark.kosli(snapshot="beta")
def test_the_environment_has_no_policies(deploy): ...


@pytest.mark.kosli(snapshot="dr")
def test_nothing_was_ever_reported(deploy): ...


@pytest.mark.kosli(repo="acme/attic")
def test_nothing_of_the_repository_runs(deploy): ...


@pytest.mark.kosli(PAYMENTS, enviroment="prod")
def test_the_mark_has_a_typo(deploy): ...
