"""What a ``conftest.py`` or another plugin may add to pytest-kosli: hooks, and nothing else."""

from __future__ import annotations

import pytest


@pytest.hookspec(firstresult=True)
def pytest_kosli_fingerprint(config: pytest.Config, reference: str) -> str | None:
    """Return the fingerprint of an artifact of a kind of your own, or None if it is not yours.

    A reference begins with its kind. One that pytest-kosli does not know (it knows ``file``,
    ``dir``, ``oci``, ``docker`` and ``sha256``) is offered to this hook, without the ``NAME=`` that
    may stand before it, and the first answer counts. Make up a kind, and look whether it is there::

        # conftest.py
        import hashlib
        import urllib.request

        def pytest_kosli_fingerprint(config, reference):
            kind, _, path = reference.partition(":")
            if kind != "release":
                return None
            with urllib.request.urlopen(f"https://releases.acme.example/{path}") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

    From now on ``release:payments-1.4.zip`` names an artifact: in ``@pytest.mark.kosli(...)``,
    after ``--kosli-artifact``, and for ``assert_compliant`` and ``kosli_fingerprint``.

    The answer is a SHA256 as 64 lower-case hexadecimal digits; anything else is an error at the
    tests that ask about it, and so is an exception. Raise ``pytest_kosli.model.NoVerdict`` to say
    what is wrong and what to do. A reference is asked for once a run, also under xdist.
    """
