"""From what botocore raises to what the component's owner reads."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.util.ssl_match_hostname import CertificateError

from cairn.clients.s3 import Credentials, RefusedError, UnreachableError, error_of
from cairn.components.artifact_store.s3.probe import Outcome
from cairn.components.base import Verdict

from .conftest import s3

URL = "http://s3.svc:9000"


def answered(status: int, code: str = "", operation: str = "PutObject", region: str = "", **error: Any) -> ClientError:
    headers = {"x-amz-bucket-region": region} if region else {}
    response: Any = {
        "Error": {"Code": code or str(status), "Message": "from the server", **error},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return ClientError(response, operation)


def unconnected(cause: Exception) -> EndpointConnectionError:
    return EndpointConnectionError(endpoint_url=f"{URL}/ml-artifacts", error=cause)


def uncertified(code: int, message: str) -> SSLError:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_code, cause.verify_message = code, message
    return SSLError(endpoint_url=URL, error=cause)


def verdict(error: Exception, operation: str = "PutObject", *, seen: bool = False, **config: Any) -> Verdict:
    store = s3(endpoint=URL, prefix="p", credentialsSecretRef={"name": "keys"}, **config)
    return store.judge(Outcome(seen=seen, error=error_of(operation, error)), URL)


BUCKET = f"Bucket ml-artifacts at {URL}"


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (
            answered(403, "InvalidAccessKeyId", AWSAccessKeyId="TOPSECRET"),
            "InvalidCredentials",
            f"{URL} does not know the access key in Secret ml/keys; correct AWS_ACCESS_KEY_ID there.",
        ),
        (
            answered(403, "SignatureDoesNotMatch", StringToSign="TOPSECRET"),
            "InvalidCredentials",
            f"{URL} finds that the secret key in Secret ml/keys is a wrong one; correct AWS_SECRET_ACCESS_KEY there.",
        ),
        (
            answered(400, "InvalidToken"),
            "InvalidCredentials",
            f"{URL} does not accept the token in Secret ml/keys; correct AWS_SESSION_TOKEN there, or remove it.",
        ),
        (
            answered(400, "ExpiredToken"),
            "InvalidCredentials",
            f"{URL} finds the credentials in Secret ml/keys expired; renew them.",
        ),
        (
            answered(403, "AccessDenied"),
            "AccessDenied",
            f"{BUCKET} refuses PutObject to the access key in Secret ml/keys (403 AccessDenied); allow s3:PutObject on "
            "s3://ml-artifacts/p/*.",
        ),
        (
            answered(404, "NoSuchBucket"),
            "BucketNotFound",
            f"{BUCKET} does not exist; create it, correct its name, or set createBucket to true.",
        ),
        (
            answered(400, "AuthorizationHeaderMalformed", Region="eu-central-1"),
            "WrongRegion",
            f"{BUCKET} is in region eu-central-1, not in region us-east-1; correct region.",
        ),
        (
            answered(301, "PermanentRedirect"),
            "WrongRegion",
            f"{BUCKET} is in another region, not in region us-east-1; correct region.",
        ),
        (
            answered(403, "RequestTimeTooSkewed"),
            "ClockSkewed",
            f"The clocks of {URL} and of the operator's node are too far apart (403 RequestTimeTooSkewed); synchronize "
            "them.",
        ),
        (
            answered(503, "SlowDown"),
            "ServerError",
            f"{BUCKET} failed in PutObject (503 SlowDown); look into the server's log.",
        ),
        (
            answered(405),
            "UnexpectedAnswer",
            f"{URL} answered PutObject with 405; make sure that it is the address of an S3 API.",
        ),
        (
            answered(404),
            "UnexpectedAnswer",
            f"{URL} answered PutObject with 404; make sure that it is the address of an S3 API.",
        ),
        (
            ResponseParserError("not XML"),
            "UnexpectedAnswer",
            f"{URL} answered PutObject with 200; make sure that it is the address of an S3 API.",
        ),
        (
            unconnected(socket.gaierror(-2, "Name or service not known")),
            "EndpointUnreachable",
            f"{URL} has a host name, s3.svc, that cannot be resolved; correct endpoint, addressingStyle or the "
            "cluster's DNS.",
        ),
        (
            unconnected(ConnectionRefusedError(111, "refused")),
            "EndpointUnreachable",
            f"{URL} refuses connections; start the server or correct the port.",
        ),
        (
            ConnectTimeoutError(endpoint_url=URL),
            "EndpointUnreachable",
            f"{URL} does not accept a connection within 3 s; make sure that the server runs and that no network policy "
            "keeps the operator from it.",
        ),
        (
            ReadTimeoutError(endpoint_url=URL),
            "EndpointUnreachable",
            f"{URL} does not answer PutObject within 5 s; look into the server's log.",
        ),
        (
            ConnectionClosedError(endpoint_url=URL),
            "EndpointUnreachable",
            f"{URL} closes connections without an answer; write https:// if it speaks TLS, else look into the "
            "server's log.",
        ),
        (
            ProxyConnectionError(proxy_url="http://user:TOPSECRET@proxy"),
            "EndpointUnreachable",
            f"{URL} cannot be reached through the operator's proxy; except the endpoint in NO_PROXY.",
        ),
        (
            unconnected(OSError(113, "No route to host")),
            "EndpointUnreachable",
            f"{URL} cannot be reached (OSError); make sure that the server runs and that no network policy keeps the "
            "operator from it.",
        ),
        (
            SSLError(endpoint_url=URL, error=ssl.SSLError(1, "wrong version number")),
            "EndpointUnreachable",
            f"{URL} does not speak TLS; write http:// or correct the port.",
        ),
        (
            uncertified(20, "unable to get local issuer certificate"),
            "TLSUntrusted",
            f"The certificate of {URL} is not trusted (unable to get local issuer certificate); put the authority that "
            "signed it into a Secret and name that in caSecretRef.",
        ),
        (
            uncertified(10, "certificate has expired"),
            "TLSUntrusted",
            f"The certificate of {URL} is not trusted (certificate has expired); have one issued that is valid for this "
            "host and time.",
        ),
        (
            SSLError(endpoint_url=URL, error=CertificateError("hostname 's3.svc' doesn't match 'other'")),
            "TLSUntrusted",
            f"The certificate of {URL} is not trusted (it is for another host); have one issued that is valid for this "
            "host and time.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_write_that_fails(error: Exception, reason: str, message: str):
    found = verdict(error)

    assert (found.ready, found.reason, found.message, found.endpoint) == (False, reason, message, URL)
    assert "TOPSECRET" not in found.message


@pytest.mark.parametrize(
    ("error", "operation", "reason"),
    [
        (answered(403), "HeadBucket", "AccessDenied"),
        (answered(404), "HeadBucket", "BucketNotFound"),
        (answered(301, region="eu-west-1"), "HeadBucket", "WrongRegion"),
        (answered(403, region="eu-west-1"), "HeadBucket", "WrongRegion"),
        (answered(403, region="us-east-1"), "HeadBucket", "AccessDenied"),
        (answered(404, region="eu-west-1"), "HeadBucket", "BucketNotFound"),
        (answered(500), "HeadBucket", "ServerError"),
        (answered(403, "AccessDenied"), "CreateBucket", "BucketCreateDenied"),
        (answered(409, "BucketAlreadyExists"), "CreateBucket", "BucketCreateDenied"),
        (answered(400, "TooManyBuckets"), "CreateBucket", "BucketCreateDenied"),
        (answered(400, "InvalidLocationConstraint"), "CreateBucket", "WrongRegion"),
        (answered(403, "InvalidAccessKeyId"), "CreateBucket", "InvalidCredentials"),
        (answered(405), "CreateBucket", "UnexpectedAnswer"),
        (answered(403, "AccessDenied"), "GetObject", "AccessDenied"),
        (answered(404, "NoSuchKey"), "GetObject", "ProbeMismatch"),
        (answered(403, "AccessDenied"), "DeleteObject", "AccessDenied"),
        (answered(400, "AuthorizationHeaderMalformed"), "PutObject", "InvalidCredentials"),
    ],
)
def test_reason_by_operation(error: Exception, operation: str, reason: str):
    assert verdict(error, operation).reason == reason


def test_a_refused_operation_is_named():
    assert "refuses DeleteObject" in verdict(answered(403, "AccessDenied"), "DeleteObject").message


def test_a_bucket_that_may_be_seen_but_not_written():
    assert verdict(answered(403, "AccessDenied"), seen=True).reason == "WriteDenied"
    assert verdict(answered(403, "SignatureDoesNotMatch"), seen=True).reason == "InvalidCredentials"


def test_an_authority_that_is_named_already():
    found = verdict(uncertified(19, "self-signed certificate"), caSecretRef={"name": "ca", "key": "pem"})

    assert found.message.endswith("put the authority that signed it into the Secret of caSecretRef.")


def test_only_words_of_a_server_are_repeated():
    odd = answered(403, "<script>" * 1000, Region="a region\nwith lines")

    error = error_of("PutObject", odd)

    assert isinstance(error, RefusedError)
    assert (error.code, error.region, error.detail) == ("", None, "403")


def test_credentials_are_not_shown():
    credentials = Credentials("TOPSECRET", "TOPSECRET", "TOPSECRET")

    assert "TOPSECRET" not in repr(credentials)


def test_an_exception_that_wraps_itself_is_no_trap():
    error = EndpointConnectionError(endpoint_url=URL, error="text")
    error.__cause__ = error

    assert isinstance(error_of("PutObject", error), UnreachableError)
