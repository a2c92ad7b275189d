"""Is the code what we think it is? Files of the repositories that tonight's release is built from.

What CodeAlive holds is a branch as it has indexed it: see what that can not prove in the README.
"""

import re

import pytest

PAYMENTS = (
    "ghcr.io/acme/payments:1.4.0"
    "@sha256:e49d56120c409cfec03af85664663d1b380312fe9c275eab3c18dc06d6bec895"
)
POLICY = "9c891b5803ac0aded5bcd80db44cd594865c43a92abffc87d65056614d30c69a"


def test_payments_ships_hardened_settings(assert_compliant, assert_source):
    """The flow says which of the repositories is meant: a release flow holds the image as well."""
    verdict = assert_compliant(PAYMENTS, environment="prod", flow="payments-ci")
    assert_source(
        verdict,
        "src/payments/settings/production.py",
        contains="DEBUG = False",
        lacks=re.compile(r"ALLOWED_HOSTS\s*=\s*\[['\"]\*"),
    )


def test_the_deployed_policy_is_the_file_in_git(kosli_client, assert_source):
    """The fingerprint of a file artifact is the sha256 of its bytes: this is proof."""
    policy = kosli_client.artifact(POLICY, "policies-ci")
    assert_source(policy, "policies/prod.rego", sha256=policy.fingerprint)


@pytest.mark.kosli(repo="acme/payments", environment="staging")
def test_every_file_has_its_licence_header(assert_source):
    """All files that do not are told in one failure, which quotes none of them."""
    assert_source(
        "acme/payments",
        "src/payments/api.py",
        "src/payments/webhooks.py",
        contains="SPDX-License-Identifier: Apache-2.0",
    )
