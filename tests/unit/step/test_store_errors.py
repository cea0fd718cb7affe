"""What obstore's errors mean. The texts were recorded from obstore 0.12.1, most of them against versitygw 1.7.0."""

from __future__ import annotations

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from cairn.step.errors import ObjectMissingError, StepError
from cairn.step.store_errors import translate

STORE = "Artifact store ml (http://s3:7070)"


def answer(status: str, code: str, message: str, more: str = "") -> str:
    return (
        f"Error performing GET http://s3:7070/ml/k in 1ms - Server returned non-2xx status code: {status}: "
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'
    )


def broken(kind: str, cause: str) -> str:
    return (
        "Generic S3 error: Error performing PUT http://s3:7070/ml/k in 102ms, after 1 retries, max_retries: 1, "
        "retry_timeout: 2s  - HTTP error: error sending request\n\nDebug source:\nGeneric {\n inner: Http(\n"
        "HttpError {\n"
        f" kind: {kind},\n source: reqwest::Error {{\n kind: Request,\n source: {cause} }}"
    )


def meaning(error: Exception) -> StepError:
    translated = translate(error, STORE)
    assert isinstance(translated, StepError)
    return translated


REFUSED = 'ConnectError("tcp connect error", 127.0.0.1:1, Os { code: 111, kind: ConnectionRefused, message: "…" })'
LOOKUP = 'ConnectError("dns error", Custom { error: "failed to lookup address information: Name … not known" })'
TIMED_OUT = 'ConnectError("tcp connect error", deadline has elapsed, Custom { kind: TimedOut })'
ISSUER = "Custom { kind: InvalidData, error: InvalidCertificate( UnknownIssuer ) }"
NAME = 'InvalidCertificate( NotValidForNameContext { expected: DnsName( "localhost" ) } )'
PLAIN = "Custom { kind: InvalidData, error: InvalidMessage( InvalidContentType ) }"


@pytest.mark.parametrize(
    ("kind", "cause", "words"),
    [
        ("Connect", REFUSED, "connection refused"),
        ("Connect", LOOKUP, "name cannot be resolved"),
        ("Timeout", TIMED_OUT, "no answer in time"),
        ("Connect", ISSUER, "not signed by a CA that is trusted"),
        ("Connect", NAME, "for another name"),
        ("Connect", PLAIN, "does not speak TLS"),
        ("Request", "hyper::Error( IncompleteMessage )", "begin with https://"),
        ("Request", "Os { code: 104, kind: ConnectionReset }", "broke off"),
    ],
)
def test_a_store_that_cannot_be_reached_is_named_with_the_cause(kind: str, cause: str, words: str):
    error = meaning(GenericError(broken(kind, cause)))

    assert error.reason == "ArtifactStoreUnreachable"
    assert error.message.startswith(f"{STORE} cannot be reached: ")
    assert words in error.message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(answer("404 Not Found", "NoSuchBucket", "No bucket.")), "BucketNotFound"),
        (GenericError(answer("404 Not Found", "NoSuchBucket", "No bucket.")), "BucketNotFound"),
        (FileNotFoundError(answer("404 Not Found", "XAdminUserNotFound", "No user.")), "ArtifactStoreDenied"),
        (PermissionDeniedError(answer("403 Forbidden", "Whatever", "No.")), "ArtifactStoreDenied"),
        (GenericError(answer("403 Forbidden", "SignatureDoesNotMatch", "No.")), "ArtifactStoreDenied"),
        (GenericError(answer("400 Bad Request", "ExpiredToken", "Old.")), "ArtifactStoreDenied"),
        (PermissionDeniedError("… non-2xx status code: 403 Forbidden: \n\nDebug source"), "ArtifactStoreDenied"),
        (GenericError(answer("503 Slow", "SlowDown", "Wait.")), "ArtifactStoreUnreachable"),
        (GenericError("… non-2xx status code: 502 Bad Gateway: <html>"), "ArtifactStoreUnreachable"),
        (GenericError(answer("400 Bad", "AuthorizationHeaderMalformed", "Region.")), "ArtifactStoreFailed"),
        (FileNotFoundError("… non-2xx status code: 404 Not Found: default backend - 404"), "ArtifactStoreFailed"),
        (GenericError("… PUT http://169.254.169.254/latest/api/token … error sending request"), "ArtifactStoreDenied"),
        (GenericError('Generic LocalFileSystem error: Os { message: "No space left on device" }'), "DiskFull"),
        (GenericError('Generic LocalFileSystem error: Os { message: "Permission denied" }'), "ArtifactStoreDenied"),
        (GenericError("Generic S3 error: something new"), "ArtifactStoreFailed"),
    ],
)
def test_an_error_has_its_own_reason(error: Exception, reason: str):
    assert meaning(error).reason == reason


@pytest.mark.parametrize(
    "text",
    [
        answer("404 Not Found", "NoSuchKey", "The specified key does not exist."),
        "Error performing HEAD http://s3:7070/ml/k in 1ms - Server returned non-2xx status code: 404 Not Found: \n\n",
        "Object at location /store/k not found: No such file or directory (os error 2)",
    ],
)
def test_an_object_that_is_not_there_is_no_failure_of_the_store(text: str):
    assert isinstance(translate(FileNotFoundError(text), STORE), ObjectMissingError)


def test_what_a_server_echoes_of_the_signature_is_not_passed_on():
    echo = "<AWSAccessKeyId>AKIAIOSFODNN7EXAMPLE</AWSAccessKeyId><StringToSign>AWS4 secret</StringToSign>"

    error = meaning(PermissionDeniedError(answer("403 Forbidden", "SignatureDoesNotMatch", "No.", echo)))

    assert "AKIA" not in str(error)
    assert "AWS4" not in str(error)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET http://s3/b/k?X-Amz-Signature=abc&x=1 failed", "GET http://s3/b/k failed"),
        ("at http://user:pass@s3:7070/b", "at http://s3:7070/b"),
        ("key AKIAIOSFODNN7EXAMPLE is unknown", "key AKIA… is unknown"),
    ],
)
def test_a_message_holds_no_credential(text: str, shown: str):
    assert StepError("Reason", text).message == shown


def test_a_message_is_one_short_line():
    message = StepError("Reason", "line\n" * 1000).message

    assert (len(message), "\n" in message) == (512, False)
