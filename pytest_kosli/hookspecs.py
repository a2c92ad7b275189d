"""What a ``conftest.py`` or another plugin may add to pytest-kosli: hooks, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_kosli import Artifact, Interaction, KosliClient, Verdict


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
    tests that ask about it. A reference is asked for once a run, also under xdist.
    """


@pytest.hookspec
def pytest_kosli_artifacts(config: pytest.Config, client: KosliClient) -> Iterable[str | Artifact]:
    """Return deployed artifacts that pytest-kosli can not find by itself.

    Each of them is a reference, as after ``--kosli-artifact``, or an ``Artifact`` with fingerprint,
    name and, where you know it, the environment in which it runs. Ask whoever runs them::

        # conftest.py
        import boto3

        from pytest_kosli import Artifact


        def pytest_kosli_artifacts(config, client):
            ecs = boto3.client("ecs")
            for page in ecs.get_paginator("list_tasks").paginate(cluster="shop"):
                told = ecs.describe_tasks(cluster="shop", tasks=page["taskArns"])
                for task in told["tasks"]:
                    for container in task["containers"]:
                        digest = container["imageDigest"].removeprefix("sha256:")
                        yield Artifact(digest, container["image"], environment="prod")

    They are judged together with what flags and the ini file name: by the ready-made gate, and by
    tests whose mark names no artifacts, such as ``@pytest.mark.kosli(environment="prod")``; each
    artifact is one test. An artifact that names its environment is judged there, unless the mark
    or a flag names a scope; all others are judged against the scope of the mark or the settings.
    ``without`` leaves some out by name. Relative paths start at the root folder.

    Whatever is returned gets a verdict, or the run fails and says what had none. With no artifact
    from here or elsewhere, the tests that were to judge them end as errors. So do they when the
    hook raises, or returns anything else (None too); but a plugin that has nothing to add may
    return an empty list.

    It is asked once a run, also under xdist, when the first test is collected that needs it, and
    only in a run with a marked test or the gate: unit tests alone never call it. Nor is it called
    in a dry run, under ``--collect-only`` or without a token. A plugin or the ``conftest.py`` of
    the root folder is the place for it: one in a folder below may come too late, which is an error.
    ``client`` asks Kosli, or the cassettes in a run that is offline.
    """
    raise NotImplementedError


@pytest.hookspec
def pytest_kosli_verdict(config: pytest.Config, verdict: Verdict) -> None:
    """Hear of each verdict, for numbers and messages.

    ``verdict.outcome`` says what it is; ``artifact``, ``question``, ``reasons`` and ``link`` say
    the rest. Tell a chat what was refused::

        # conftest.py
        import json
        import os
        import urllib.request

        from pytest_kosli import Outcome


        def pytest_kosli_verdict(config, verdict):
            if verdict.outcome is Outcome.COMPLIANT or verdict.replayed:
                return
            text = f"{verdict.artifact.label} is {verdict.outcome.label} {verdict.link}"
            message = json.dumps({"text": text}).encode()
            urllib.request.urlopen(os.environ["CHAT_WEBHOOK"], message, timeout=10).close()

    It is called once for each question (an artifact and what it is judged against), whoever asks:
    a mark, ``assert_compliant`` or ``kosli_client``. Under xdist too it is once, in the worker that
    asked. It is called in pytest's own thread: before the first test for what the marks ask, in
    the order of the tests; for what a test asks by itself, after that test's teardown, so that no
    mock of the test's meets it.

    A missing verdict is none, and is not told. What the hook returns or raises changes no test. But
    a run in which it raised fails at its end, and the summary names the plugin.
    """


@pytest.hookspec
def pytest_kosli_before_record(config: pytest.Config, interaction: Interaction) -> Interaction:
    r"""Return what a cassette is to hold: the interaction as it is, or with another body.

    Kosli's replies name people and quote commit messages. Take out what your repository should not
    hold, for ``--kosli-record``::

        # conftest.py
        import re
        from dataclasses import replace


        def pytest_kosli_before_record(config, interaction):
            body = re.sub(rb"[\w.+-]+@acme\.example", b"somebody@acme.example", interaction.body)
            return replace(interaction, body=body)

    ``interaction`` has ``request``, ``status``, ``content_type`` and ``body``, which is bytes, as
    Kosli sent them. Several plugins scrub one after the other. Afterwards tokens and cookies are
    taken out as ever. The run itself goes by the reply as it came.

    Only the body may change, and only in texts that are shown and not judged by: a replay must
    come to the same artifacts and verdicts. Anything else is an error at the tests that asked, and
    nothing is written; so is an exception, and None: a forgotten ``return`` would write down what
    was to be scrubbed. It may be called in another thread than the main one, but never twice at a
    time. Cassettes of source are not offered: each letter of them may be asserted on.
    """
    raise NotImplementedError
