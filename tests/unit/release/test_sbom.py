"""The list of what is in an image."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charts.release.sbom import Bom, NotLockedError, sbom

from .conftest import DIGEST, EPOCH, LOCK, OPERATOR


def of(image: object = OPERATOR) -> Bom:
    assert isinstance(image, type(OPERATOR))
    return sbom(image, LOCK, name="cairn-operator", own=["cairn"], epoch=EPOCH)


def test_it_lists_what_is_in_the_image_and_nothing_else_of_the_lock_file():
    assert [one["name"] for one in of()["components"]] == ["cairn", "kopf", "pyyaml", "zlib1g", "helm"]


def test_everything_that_depends_or_is_depended_on_is_in_the_list():
    found = of()

    known = {one["bom-ref"] for one in found["components"]} | {"cairn-operator"}
    for edge in found["dependencies"]:
        assert {edge["ref"], *edge["dependsOn"]} <= known


def test_a_package_that_the_lock_file_does_not_know_is_an_error():
    smuggled = replace(OPERATOR, python_packages={**OPERATOR.python_packages, "smuggled": "1"})

    with pytest.raises(NotLockedError, match="smuggled 1"):
        of(smuggled)


def test_another_version_than_the_locked_one_is_an_error():
    older = replace(OPERATOR, python_packages={**OPERATOR.python_packages, "kopf": "1.44"})

    with pytest.raises(NotLockedError, match=r"kopf 1\.44"):
        of(older)


def test_debian_s_packages_have_their_url():
    (zlib,) = (one for one in of()["components"] if one["name"] == "zlib1g")

    assert zlib["purl"] == "pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1?arch=amd64"


def test_it_is_about_the_image_that_was_pushed():
    pushed = of(replace(OPERATOR, digest=DIGEST))

    assert pushed["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": DIGEST.removeprefix("sha256:")}]


def test_its_number_follows_from_what_it_says():
    assert of()["serialNumber"] == of()["serialNumber"]
    assert of()["serialNumber"] != of(replace(OPERATOR, helm=""))["serialNumber"]
