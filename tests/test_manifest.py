"""What a manifest says: every image with its place, and a clear error where there is none."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_kosli import manifest
from pytest_kosli.manifest import Manifest, read
from pytest_kosli.manifest.kubernetes import RUNNING
from pytest_kosli.manifest.tree import Steps
from pytest_kosli.model import NoVerdict

DIGEST = "0" * 64


def found(text: str) -> list[str]:
    """Return ``image at place`` of each image, where nothing else is in the manifest."""
    whole = read(text, "deploy.yaml")
    assert (whole.problems, whole.others) == ((), ())
    return [f"{image.text} at {image.place}" for image in whole.images]


def wrong(text: str) -> list[str]:
    """Return ``place: what is wrong`` of each problem."""
    return [f"{one.place}: {one.told}" for one in read(text, "deploy.yaml").problems]


def refused(text: str) -> NoVerdict:
    with pytest.raises(NoVerdict) as caught:
        read(text, "deploy.yaml")
    assert "deploy.yaml" in caught.value.message
    assert caught.value.todo
    return caught.value


# Kubernetes.

SPEC = {
    "initContainers": [{"name": "a", "image": "init:1"}],
    "containers": [{"name": "b", "image": "main:1"}, {"name": "c", "image": "side:1"}],
    "ephemeralContainers": [{"name": "d", "image": "debug:1"}],
    "volumes": [{"name": "e", "image": {"reference": "data:1", "pullPolicy": "Always"}}],
}
TEMPLATE = {"metadata": {"labels": {"image": "no-image"}}, "spec": SPEC}


def of_kind(kind: str) -> tuple[dict[str, object], str]:
    """Return an object of a kind, and the path of its pod's spec."""
    head: dict[str, object] = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "web"}}
    if kind == "Pod":
        return head | {"spec": SPEC}, "spec"
    if kind == "PodTemplate":
        return head | {"template": TEMPLATE}, "template.spec"
    selector = {"matchLabels": {"image": "no-image"}}
    spec = {"selector": selector, "template": TEMPLATE}
    if kind == "CronJob":
        return head | {
            "spec": {"jobTemplate": {"spec": spec}}
        }, "spec.jobTemplate.spec.template.spec"
    return head | {"spec": spec}, "spec.template.spec"


@pytest.mark.parametrize("kind", sorted(RUNNING))
@pytest.mark.parametrize("write", [yaml.safe_dump, json.dumps], ids=["yaml", "json"])
def test_every_kind_of_container_of_every_kind_is_found(
    kind: str, write: Callable[[object], str]
) -> None:
    whole, path = of_kind(kind)
    images = read(write(whole), "deploy.yaml").images
    assert {image.text: f"{image.place.document} {image.place.path}" for image in images} == {
        "init:1": f"{kind}/web {path}.initContainers[0]",
        "main:1": f"{kind}/web {path}.containers[0]",
        "side:1": f"{kind}/web {path}.containers[1]",
        "debug:1": f"{kind}/web {path}.ephemeralContainers[0]",
        "data:1": f"{kind}/web {path}.volumes[0].image",
    }


CHART = """\
---
# Source: web/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {image: web}
---
# Source: web/templates/empty.yaml
---
# Source: web/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: rules
data:
  image: logo.png
  rules: |
    containers: {{ $labels.container }}
---
# Source: web/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  generateName: web-
spec:
  template:
    spec:
      containers:
        - name: web
          # the one that counts
          image: "ghcr.io/acme/web:2.3.1"
          args: ["--image", "no:1"]
          env:
            - name: image
              value: no:2
"""


def test_a_rendered_chart_is_read_document_by_document() -> None:
    whole = read(CHART, "chart")
    assert [(image.text, str(image.place)) for image in whole.images] == [
        ("ghcr.io/acme/web:2.3.1", "Deployment/web- spec.template.spec.containers[0], line 33")
    ]
    assert [str(other) for other in whole.others] == ["Service/web", "ConfigMap/rules"]
    assert [other.number for other in whole.others] == [1, 3]
    assert whole.images[0].place.document.number == 4


def test_lists_are_read_object_by_object() -> None:
    text = """\
kind: List
items:
  - kind: Pod
    metadata: {name: a}
    spec: {containers: [{image: a:1}]}
  - kind: Secret
    metadata: {name: s}
  - kind: DeploymentList
    items:
      - metadata: {name: b}
        spec: {template: {spec: {containers: [{image: b:1}]}}}
        status: {image: never:1}
  - nothing
---
kind: JobList
items: []
"""
    whole = read(text, "deploy.yaml")
    assert [f"{image.text} at {image.place}" for image in whole.images] == [
        "a:1 at Pod/a items[0].spec.containers[0], line 5",
        "b:1 at Deployment/b items[2].items[0].spec.template.spec.containers[0], line 11",
    ]
    assert [str(other) for other in whole.others] == ["Secret/s", "JobList"]
    assert wrong(text) == ["List items[3], line 13: this is no object"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (  # Argo Rollouts, Knative, whatever holds a pod template
            "kind: Rollout\nspec: {template: {spec: {containers: [{image: a:1}]}}}",
            ["a:1 at Rollout spec.template.spec.containers[0], line 2"],
        ),
        (
            "kind: Service\napiVersion: serving.knative.dev/v1\nmetadata: {name: k}\n"
            "spec: {template: {spec: {containers: [{image: a:1}]}}}",
            ["a:1 at Service/k spec.template.spec.containers[0], line 4"],
        ),
        (  # Argo Workflows
            "kind: Workflow\n"
            "spec: {templates: [{container: {image: a:1}}, {script: {image: b:1}}]}",
            [
                "a:1 at Workflow spec.templates[0].container, line 2",
                "b:1 at Workflow spec.templates[1].script, line 2",
            ],
        ),
        ("kind: Task\nspec: {steps: [{image: a:1}]}", ["a:1 at Task spec.steps[0], line 2"]),
        ("kind: Prometheus\nspec: {image: a:1}", ["a:1 at Prometheus spec, line 2"]),
        (  # no kind at all: a task definition of ECS
            '{"containerDefinitions": [{"image": "a:1"}]}',
            ["a:1 at containerDefinitions[0], line 1"],
        ),
    ],
)
def test_kinds_that_nobody_told_us_of_are_looked_through(text: str, expected: list[str]) -> None:
    assert found(text) == expected


CONTAINER = "{containers: [{image: a:1}]}"


@pytest.mark.parametrize(
    "text",
    [
        # Kubernetes's names in groups of others, and without any
        "kind: Deployment\napiVersion: x.io/v1\nspec: {image: a:1}",
        "kind: Pod\napiVersion: v1/x\nspec: {image: a:1}",
        "kind: Job\napiVersion: apps/v1\nspec: {image: a:1}",
        "kind: Deployment\nspec: {image: a:1}",
        f"kind: Secret\napiVersion: x.io/v1\nspec: {CONTAINER}",
        f"kind: ConfigMap\ndata: {CONTAINER}",
        f"kind: CustomResourceDefinition\napiVersion: v1\nspec: {CONTAINER}",
        # beside a list, and in what kubectl takes for one
        f"kind: WorkerList\napiVersion: x.io/v1\nitems: []\nspec: {CONTAINER}",
        f"kind: Secret\napiVersion: v1\nitems: [{{kind: Pod, apiVersion: v1, spec: {CONTAINER}}}]",
        f"kind: Secret\napiVersion: x.io/v1\nitems: [{{spec: {CONTAINER}}}]",
        f"kind: SecretList\napiVersion: x.io/v1\nitems: [{{apiVersion: v1, spec: {CONTAINER}}}]",
        f"kind: PodList\napiVersion: v1\nitems: [{{kind: Secret, spec: {CONTAINER}}}]",
        f"kind: List\nitems: [{{kind: List, items: [{{kind: Pod, spec: {CONTAINER}}}]}}]",
        # below keys of labels, where no list can be one
        f"kind: Worker\nspec: {{selector: {CONTAINER}, labels: {{image: free}}}}",
        f"kind: Worker\nmetadata: {CONTAINER}",
    ],
)
def test_no_name_hides_an_image(text: str) -> None:
    assert [image.text for image in read(text, "deploy.yaml").images] == ["a:1"]
    assert wrong(text) == []


def test_an_image_under_a_tag_is_told() -> None:
    for tag in ("!x", "!!binary", "!"):
        assert wrong(f"kind: Worker\nspec: {{image: {tag} YTox}}") == [
            "Worker spec, line 2: the image is not text: YTox"
        ]


def test_a_label_may_have_any_name() -> None:
    labels = "{containers: a, image: b, initContainers: c}"
    text = f"kind: Pod\nmetadata: {{labels: {labels}}}\nspec: {CONTAINER}"
    assert found(text) == ["a:1 at Pod spec.containers[0], line 3"]


def test_the_items_of_a_typed_list_are_of_its_kind() -> None:
    text = "kind: PodList\napiVersion: v1\nitems: [{spec: {image: free}}]"
    assert wrong(text) == ["Pod items[0], line 3: there is no container"]


@pytest.mark.parametrize(
    "text",
    [
        "kind: CustomResourceDefinition\napiVersion: apiextensions.k8s.io/v1\n"
        "spec: {default: {image: a:1}}",
        "kind: Secret\napiVersion: v1\nstringData: {image: a:1}",
        "kind: Deployment\napiVersion: x.io/v1\nspec: {replicas: 1}",
        "kind: HelmRelease\nspec: {values: {image: {repository: a, tag: 1}}}",
        "kind: Prometheus\nspec: {containers: [{name: patch}], image: '', other: {image: 3}}",
        "kind: PersistentVolume\nspec: {rbd: {image: disk}}",
        "kind: Service\nspec: {selector: {image: a}, nodeSelector: {image: b}}",
    ],
)
def test_what_holds_no_image_is_listed(text: str) -> None:
    error = refused(text)
    assert error.code == "manifest_without_images"
    assert f"1 document: {text.partition('kind: ')[2].partition(chr(10))[0]}" in error.message


@pytest.mark.parametrize(
    ("containers", "told"),
    [
        ("[{name: a}]", "containers[0], line 3: there is no image"),
        ("[{image: }]", "containers[0], line 3: there is no image"),
        ("[{image: ''}]", "containers[0], line 3: there is no image"),
        ("[{image: null}]", "containers[0], line 3: there is no image"),
        ("[{image: 1.25}]", "containers[0], line 3: the image is not text: 1.25"),
        ("[{image: true}]", "containers[0], line 3: the image is not text: true"),
        ("[{image: 2026-01-01}]", "containers[0], line 3: the image is not text: 2026-01-01"),
        ("[{image: !thing a}]", "containers[0], line 3: the image is not text: a"),
        ("[{image: [a]}]", "containers[0], line 3: the image is not text: a list"),
        ("[{image: {name: a}}]", "containers[0], line 3: the image is not text: a mapping"),
        ("[{image: 'a b'}]", "containers[0], line 3: this can be no image: a b"),
        ("[{image: a=oci:b}]", "containers[0], line 3: this can be no image: a=oci:b"),
        ('[{image: "a\\nb"}]', "containers[0], line 3: this can be no image: a\\nb"),
        ('[{image: "\\u202Ea"}]', "containers[0], line 3: this can be no image: \\u202ea"),
        ("[a]", "containers[0], line 3: this is no container"),
        ("a", "containers, line 3: this is no list of containers"),
        ("{image: a}", "containers, line 3: this is no list of containers"),
    ],
)
def test_a_container_without_an_image_is_told_with_its_place(containers: str, told: str) -> None:
    text = f"kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: {containers}}}"
    assert wrong(text) == [f"Pod/p spec.{told}"]


@pytest.mark.parametrize("spec", ["", "{containers: []}", "{containers: }", "{initContainers: []}"])
@pytest.mark.parametrize("kind", sorted(RUNNING))
def test_what_runs_containers_and_has_none_is_told(kind: str, spec: str) -> None:
    assert wrong(f"kind: {kind}\nspec: {spec}") == [f"{kind}, line 1: there is no container"]


def test_one_bad_container_does_not_hide_the_others() -> None:
    whole = read("kind: Pod\nspec: {containers: [{image: a:1}, {}, {image: b:1}]}", "x")
    assert [image.text for image in whole.images] == ["a:1", "b:1"]
    assert len(whole.problems) == 1


# Templates and variables.


@pytest.mark.parametrize(
    "image",
    [
        "{{ .Values.image }}",
        "acme/web:{{ tag }}",
        "acme/web:$TAG",
        "$(IMAGE)",
        "${A:-b}",
        "<%= a %>",
    ],
)
def test_an_image_that_is_not_filled_in_is_told(image: str) -> None:
    (problem,) = read(f"kind: Pod\nspec: {{containers: [{{image: '{image}'}}]}}", "x").problems
    assert problem.unrendered
    assert problem.told.endswith(f"that nobody has filled in: {image}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{{- if .Values.on }}\nkind: Pod\n{{- end }}\n", 1),
        ("kind: Pod\nspec:\n  containers:\n  - image: {{ .Values.image }}\n", 4),
        ("kind: Pod\nspec:\n  containers:\n  - image: {{ .a }}:{{ .b }}\n", 4),
        ("kind: Pod\nspec: {{ toYaml .Values.spec }}\n", 2),
        ('{{ include "web.labels" . | indent 4 }}\nkind: Pod\n', 1),
    ],
)
def test_a_template_is_told_with_its_line(text: str, line: int) -> None:
    error = refused(text)
    assert error.code == "manifest_not_rendered"
    assert f"line {line} holds a template that nobody has filled in: {{{{" in error.message


# Compose.

COMPOSE = """\
x-base: &base
  image: acme/base:1
services:
  web:
    <<: *base
    profiles: [never]
  built:
    build: .
    image: acme/built:1
    volumes:
      - data:/data
      - {type: image, source: acme/model:1, target: /m}
"""


def test_every_service_of_a_compose_file_counts_whatever_its_profile() -> None:
    assert found(COMPOSE) == [
        "acme/base:1 at services.web, line 2",
        "acme/built:1 at services.built, line 9",
        "acme/model:1 at services.built.volumes[1], line 12",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("services: {a: {build: .}}", "services.a, line 1: the service is built here, and names"),
        ("services: {a: {extends: b}}", "services.a, line 1: the service names no image"),
        ("services: {a: }", "services.a, line 1: this is no service"),
        ("services: [a]", "services, line 1: this is no mapping of services"),
        ("services: {a: {image: 'a:${TAG}'}}", "services.a, line 1: the image holds a variable"),
        ("services: {}\ninclude: [b.yaml]", "include, line 2: services of other files"),
    ],
)
def test_a_service_without_an_image_is_told_by_name(text: str, told: str) -> None:
    (problem,) = wrong(text)
    assert problem.startswith(told)


@pytest.mark.parametrize("text", ["services:", "services: {}", "services: {}\nvolumes: {a: {}}"])
def test_a_compose_file_without_services_has_no_images(text: str) -> None:
    assert refused(text).code == "manifest_without_images"


# Plain lists.


def test_a_plain_list_has_one_image_a_line() -> None:
    text = f"\ufeff# what runs\n\nnginx:1.25\r\n  redis:7 # cache\n# no:1\nacme/a@sha256:{DIGEST}"
    assert found(text) == [
        "nginx:1.25 at line 3",
        "redis:7 at line 4",
        f"acme/a@sha256:{DIGEST} at line 6",
    ]


def test_a_line_that_is_no_image_is_told() -> None:
    assert wrong("nginx\ntwo images\n${REGISTRY}/web\n{{ .image }}\n") == [
        "line 2: this can be no image: two images",
        "line 3: the image holds a variable that nobody has filled in: ${REGISTRY}/web",
        "line 4: the image is a template that nobody has filled in: {{ .image }}",
    ]


@pytest.mark.parametrize(
    "text", ["- nginx\n- redis\n", '["nginx"]', "an error occurred\n", "3.5 b"]
)
def test_what_is_no_object_is_told(text: str) -> None:
    assert wrong(text) == ["line 1: this is neither an object nor a compose file"]


# What can not be read.


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("", "manifest_without_images", "it is empty"),
        ("---\n---\n# nothing\n", "manifest_without_images", "it is empty"),
        ("# nothing\n", "manifest_without_images", "it is empty"),
        ("a: [b\nc: d", "manifest_malformed", "line 2: did not find expected"),
        ("a:\n\tb: 1\n", "manifest_malformed", "line 2: found character that cannot start"),
        ("a: 1\na: 2\n", "manifest_malformed", "line 2: the key a stands there twice"),
        ('{"a": 1,\n"a": 2}', "manifest_malformed", "line 2: the key a stands there twice"),
        ("a: \x00", "manifest_malformed", "line 1: a character that no text has"),
        ("? [a]\n: b\n", "manifest_malformed", "line 1: a key is not text"),
        ("!!binary aW1hZ2U=: b", "manifest_malformed", "line 1: a key is not text"),
        (f"? {'k' * 2000}\n: b\n", "manifest_malformed", "line 1: a key is longer than 1024"),
        ("a: *b", "manifest_malformed", "line 1: the alias *b stands for nothing"),
        ("a: &a [*a]", "manifest_malformed", "line 1: the alias *a holds itself"),
        ("a: {<<: 3}", "manifest_malformed", "line 1: a merge key << names something"),
        ("a: {<<: {}, <<: {}}", "manifest_malformed", "line 1: the key << stands there twice"),
        ("{}\n{}\n", "manifest_malformed", "line 2: did not find expected <document start>"),
    ],
)
def test_what_can_not_be_read_is_told_with_its_line(text: str, code: str, told: str) -> None:
    error = refused(text)
    assert error.code == code
    assert told in error.message


def test_an_alias_is_as_good_as_what_it_stands_for() -> None:
    head = "kind: Pod\napiVersion: v1\nx: &x {image: a:1}\n"
    text = head + "spec: {containers: [*x, {<<: *x}, {<<: *x, image: b:1}]}"
    assert [image.text for image in read(text, "x").images] == ["a:1", "a:1", "b:1"]
    again = head + "spec: {containers: [{<<: [{image: c:1}, *x]}]}"
    assert [image.text for image in read(again, "x").images] == ["c:1"]


def test_json_is_read_as_it_is_written() -> None:
    face = json.dumps({"kind": "Pod", "a/b": "\U0001f600 \\ud83d\\ude00",
                       "spec": {"containers": [{"image": "a:1"}]}}, indent="\t")  # fmt: skip
    assert "\\ud83d" in face
    assert found(face) == ["a:1 at Pod spec.containers[0], line 7"]
    assert found(face.replace("a/b", "a\\/b")) == ["a:1 at Pod spec.containers[0], line 7"]


LAUGHS = "a0: &a0 [x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(
    f"a{n}: &a{n} {{k{n}: 1, <<: [{','.join([f'*a{n - 1}'] * 50)}]}}\n" for n in range(1, 3000)
)
ITEMS = "a0: &a0 {kind: List, items: []}\n" + "".join(
    f"a{n}: &a{n} {{kind: List, items: [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(LAUGHS, "keys, values and what aliases repeat", id="laughs"),
        pytest.param(MERGES, "keys, values and what aliases repeat", id="merges"),
        pytest.param(ITEMS + "kind: List\nitems: [*a29]\n", "10000 images and other", id="lists"),
        pytest.param(CHAIN, "100 levels", id="chain"),
        pytest.param("[" * 100_000, "100 levels", id="deep"),
        pytest.param("{a: " * 100_000, "100 levels", id="deep-mapping"),
        pytest.param("---\na: 1\n" * 1_000_000, "10000 documents", id="a-million-documents"),
        pytest.param("---\n" * 1_000_000, "10000 documents", id="a-million-empty-documents"),
        pytest.param("a\n" * 1_000_000, "10000 images", id="a-million-images"),
        pytest.param("#" * 17 * 1024 * 1024, "16 MiB", id="large"),
    ],
)
def test_what_is_too_much_is_refused_in_little_time_and_memory(text: str, told: str) -> None:
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    error = refused(text)
    assert error.code == "manifest_too_large"
    assert told in error.message
    assert time.process_time() - begun < 20  # seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


def test_the_number_of_keys_and_values_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "Steps", lambda: Steps(1000))
    whole = read("kind: Pod\nspec: {containers: [{image: a:1}]}\nx: [" + "a," * 400 + "]", "x")
    assert len(whole.images) == 1
    error = refused("kind: Pod\nspec: {containers: [{image: a:1}]}\nx: [" + "a," * 1000 + "]")
    assert error.code == "manifest_too_large"


# Whatever the text is.

NAMES = st.sampled_from(["acme/web:1", f"acme/web@sha256:{DIGEST}", "localhost:5000/a/b:c"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "items", "spec", "containers", "image", "name", "services"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def outcome(text: str) -> Manifest | NoVerdict:
    try:
        return read(text, "x")
    except NoVerdict as error:
        return error


@given(st.text() | st.text(alphabet="{}[]:,-&*a \n\t\"'#|>?!%@`<$"))
@settings(deadline=None)
@example("{{")
@example("\ud800")
@example("\ufeff\ufeff")
@example("- !!python/object/apply:os.system [ls]")
def test_every_text_is_a_manifest_with_something_in_it_or_an_error(text: str) -> None:
    result = outcome(text)
    assert isinstance(result, NoVerdict) or result.images or result.problems


@given(JSON)
@settings(deadline=None)
def test_json_is_read_the_same_on_one_line_and_on_many(value: object) -> None:
    told = []
    for indent in (None, 2):
        result = outcome(json.dumps(value, indent=indent))
        told.append(
            result.code
            if isinstance(result, NoVerdict)
            else [[one.text for one in result.images], [one.told for one in result.problems]]
        )
    assert told[0] == told[1]


@given(JSON, st.lists(NAMES, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_container_is_lost_whatever_stands_around_it(value: object, names: list[str]) -> None:
    containers = [{"image": name} for name in names]
    for kind in ("Deployment", "Rollout"):
        whole = {"kind": kind, "other": {"inner": {"containers": containers}, "value": value}}
        result = outcome(json.dumps(whole))
        if isinstance(result, Manifest):
            texts = [image.text for image in result.images]
            assert [text for text in texts if text in names] == names
        else:
            assert result.code == "manifest_malformed"
