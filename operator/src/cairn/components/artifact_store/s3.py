"""The artifact store `s3`: a bucket of Amazon S3 or of a server that speaks its API."""

from __future__ import annotations

import base64
import hashlib
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import Field

from cairn.api.base import DNS_LABEL, JsonObject, LocalSecretRef, Model, ObjectName, Rule, SecretKeyRef, rules
from cairn.clients.kubernetes import SECRETS, Kubernetes, NotFoundError, Resource
from cairn.clients.s3 import (
    Bucket,
    Credentials,
    RefusedError,
    S3Error,
    UnreachableError,
    UntrustedError,
    in_thread,
)
from cairn.components.base import ArtifactStore, StoreAccess, Verdict

CHECK_SECONDS = 8
"""How long the requests of one check may take together."""

ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a key
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of a key

CA_VOLUME = "cairn-store-ca"
CA_DIRECTORY = "/cairn/ca"
CA_FILE = "ca.crt"

SERVICE_ACCOUNTS = Resource("v1", "serviceaccounts", "ServiceAccount")

_BUCKET = "^[a-z0-9][-.a-z0-9]*[a-z0-9]$"
_PREFIX = "^[-_.=/a-zA-Z0-9]*$"
_LABEL = "[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
_ENDPOINT = rf"^https?://({_LABEL}([.]{_LABEL})*|\[[0-9a-fA-F:.]+\])(:[1-9][0-9]{{0,4}})?$"

BucketName = Annotated[
    str,
    Field(
        min_length=3,
        max_length=63,
        pattern=_BUCKET,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{_BUCKET}') && !self.contains('..') "
                r"&& !self.matches('^[0-9]+([.][0-9]+){3}$') "
                r"&& !self.matches('^(xn--|sthree-|amzn-s3-demo-)') "
                r"&& !self.matches('(-s3alias|--ol-s3|[.]mrap|--x-s3|--table-s3)$')",
                "must be a name that S3 allows: 3 to 63 of a-z, 0-9, - and ., beginning and ending with a "
                "letter or digit, not like an IP address, without .. or a prefix or suffix that AWS reserves",
            )
        ),
    ),
]
KeyPrefix = Annotated[
    str,
    Field(
        max_length=512,
        pattern=_PREFIX,
        json_schema_extra=rules(
            Rule(
                f"self.matches('{_PREFIX}') && !self.matches('^/|/$|//') && !self.matches('(^|/)[.][.]?(/|$)')",
                "must be of letters, digits and - _ . = /, without a slash at either end and without empty, . or .. "
                "parts: write it as team/cairn",
            )
        ),
    ),
]
Endpoint = Annotated[
    str,
    Field(
        min_length=8,
        max_length=300,
        pattern=_ENDPOINT,
        json_schema_extra=rules(
            Rule(
                f"self.matches(r'{_ENDPOINT}')",
                "must be http(s)://host[:port] without a path, query or user, such as http://s3.storage.svc:9000; "
                "buckets and prefixes have fields of their own",
            )
        ),
    ),
]


class S3Config(Model):
    """Keeps artifacts in a bucket of Amazon S3 or of a server that speaks its API."""

    bucket: BucketName = Field(description="Name of the bucket. It must exist unless `createBucket` is true.")
    prefix: KeyPrefix = Field(
        default="",
        description="Key prefix that everything is kept under, without a slash at either end. Empty: the whole bucket.",
    )
    endpoint: Endpoint | None = Field(
        default=None,
        description="Address of the server for pods, such as `http://s3.storage.svc:9000`. Left out: Amazon S3.",
    )
    region: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)] = Field(
        default="us-east-1", description="Region of the bucket. Most servers other than Amazon's accept the default."
    )
    addressing_style: Literal["Auto", "Path", "Virtual"] = Field(
        default="Auto",
        description="Where the bucket's name goes in a URL. Path: `https://host/bucket`. Virtual: "
        "`https://bucket.host`. Auto: Path where an `endpoint` is set or the bucket's name has a dot, else Virtual.",
    )
    create_bucket: bool = Field(
        default=False, description="Whether to create the bucket if it does not exist. It is never deleted."
    )
    credentials_secret_ref: LocalSecretRef | None = Field(
        default=None,
        description="Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and, for temporary credentials, "
        "AWS_SESSION_TOKEN. Left out: pods use the identity of their ServiceAccount.",
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Secret and key with the endpoint's certificate authority, in PEM form. Left out: the public ones.",
    )
    service_account_name: ObjectName | None = Field(
        default=None,
        description="ServiceAccount whose cloud identity (IRSA, EKS Pod Identity, workload identity) opens the "
        "bucket, for the pods that move artifacts.",
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "!has(self.credentialsSecretRef) || !has(self.serviceAccountName)",
                "credentialsSecretRef and serviceAccountName exclude each other: keep credentialsSecretRef for an "
                "access key, or serviceAccountName for the cloud identity of a ServiceAccount",
            ),
            Rule(
                "!has(self.createBucket) || !self.createBucket || has(self.credentialsSecretRef)",
                "createBucket needs credentialsSecretRef, since the operator creates the bucket: name a Secret, or "
                "create the bucket yourself and drop createBucket",
            ),
            Rule(
                "!has(self.caSecretRef) || !has(self.endpoint) || self.endpoint.startsWith('https://')",
                "caSecretRef is for TLS and the endpoint has none: write https:// or drop caSecretRef",
            ),
        )
    }


class S3(ArtifactStore[S3Config]):
    """See S3Config."""

    flavor = "s3"
    config_model = S3Config

    @property
    def secrets(self) -> frozenset[str]:
        """Names of the Secrets that the check reads."""
        refs = (self.config.credentials_secret_ref, self.config.ca_secret_ref)
        return frozenset(ref.name for ref in refs if ref is not None)

    @property
    def node_local(self) -> bool:
        """A bucket can be reached from every node."""
        return False

    @property
    def path_style(self) -> bool:
        """Whether the bucket's name goes into the path of a URL, or into its host."""
        if self.config.addressing_style == "Auto":
            return self.config.endpoint is not None or "." in self.config.bucket
        return self.config.addressing_style == "Path"

    def uri(self, key: str) -> str:
        """Return the URI of a key, the prefix included."""
        return f"s3://{self.config.bucket}/{_join(self.config.prefix, key)}"

    @property
    def access(self) -> StoreAccess:
        """What fetch and publish need to reach the bucket."""
        config = self.config
        settings: JsonObject = {
            "bucket": config.bucket,
            "region": config.region,
            "addressingStyle": "Path" if self.path_style else "Virtual",
        }
        if config.endpoint is not None:
            settings["endpoint"] = config.endpoint
        env: list[JsonObject] = [
            {"name": "AWS_REGION", "value": config.region},
            # the checksums that newer SDKs add are refused by many servers (boto/boto3#4392)
            {"name": "AWS_REQUEST_CHECKSUM_CALCULATION", "value": "when_required"},
            {"name": "AWS_RESPONSE_CHECKSUM_VALIDATION", "value": "when_required"},
        ]
        if config.credentials_secret_ref is not None:
            name = config.credentials_secret_ref.name
            env += [_from_secret(name, ACCESS_KEY_ID), _from_secret(name, SECRET_ACCESS_KEY)]
            env += [_from_secret(name, SESSION_TOKEN, optional=True)]
        volumes: list[JsonObject] = []
        mounts: list[JsonObject] = []
        if config.ca_secret_ref is not None:
            settings["caFile"] = f"{CA_DIRECTORY}/{CA_FILE}"
            items = [{"key": config.ca_secret_ref.key, "path": CA_FILE}]
            volumes.append({"name": CA_VOLUME, "secret": {"secretName": config.ca_secret_ref.name, "items": items}})
            mounts.append({"name": CA_VOLUME, "mountPath": CA_DIRECTORY, "readOnly": True})
        return StoreAccess(
            settings={"s3": settings},
            env=env,
            volumes=volumes,
            volume_mounts=mounts,
            service_account_name=config.service_account_name,
        )

    async def check(self, kubernetes: Kubernetes) -> Verdict:
        """Write, read and delete a probe object, so that Ready means usable.

        The operator lends no identity of its own to whoever names a bucket. Without an access key, all that it can
        find out is whether the bucket is there.
        """
        config = self.config
        try:
            bucket = Bucket(
                config.bucket,
                endpoint=config.endpoint,
                region=config.region,
                path_style=self.path_style,
                credentials=await self._credentials(kubernetes),
                ca=await self._certificates(kubernetes),
            )
            await self._need_service_account(kubernetes)
        except UnusableError as error:
            return Verdict.failed(error.reason, error.message, config.endpoint)
        try:
            outcome = await in_thread(lambda: self._try(bucket), seconds=CHECK_SECONDS)
        except TimeoutError:
            bucket.abandoned = True
            late = f"did not get beyond {bucket.operation} within {CHECK_SECONDS} s"
            outcome = Outcome(error=UnreachableError(bucket.operation, late, "look for what slows it down"))
        return self.judge(outcome, bucket.endpoint)

    def judge(self, outcome: Outcome, endpoint: str | None) -> Verdict:
        """Return the verdict on what a check met with at the endpoint."""
        config, secret = self.config, self.config.credentials_secret_ref
        place = Place(
            bucket=config.bucket,
            below=f"s3://{config.bucket}/{_join(config.prefix, '')}",
            region=config.region,
            endpoint=endpoint or "Amazon S3",
            secret=f"Secret {self.namespace}/{secret.name}" if secret is not None else None,
            has_ca=config.ca_secret_ref is not None,
        )
        if outcome.error is not None:
            return Verdict.failed(*explain(outcome.error, place, seen=outcome.seen), endpoint)
        if not outcome.matched:
            message = f"{place.name} gave back other bytes than were written; look for a cache or proxy before it."
            return Verdict.failed("ProbeMismatch", message, endpoint)
        if secret is None:
            who = f"ServiceAccount {self.namespace}/{config.service_account_name or 'default'}"
            message = f"{place.name} is there; whether {who} may read and write it shows in the first run."
            return Verdict(ready=True, reason="Reachable", message=message, endpoint=endpoint)
        begin = "was created" if outcome.created else "is there"
        message = f"{place.name} {begin}, and an object under {place.below} was written, read back and deleted."
        return Verdict.usable(message, endpoint)

    def _try(self, bucket: Bucket) -> Outcome:
        try:
            with bucket:
                if self.config.credentials_secret_ref is None:
                    return look(bucket)
                key = probe_key(self.config.prefix, self.namespace, self.name)
                return probe(bucket, key, create=self.config.create_bucket)
        except S3Error as error:
            return Outcome(error=error)

    async def _credentials(self, kubernetes: Kubernetes) -> Credentials | None:
        ref = self.config.credentials_secret_ref
        if ref is None:
            return None
        secret = await self._secret(kubernetes, ref.name)
        return Credentials(
            access_key_id=credential(secret, ACCESS_KEY_ID),
            secret_access_key=credential(secret, SECRET_ACCESS_KEY),
            session_token=credential(secret, SESSION_TOKEN) if SESSION_TOKEN in _data(secret) else None,
        )

    async def _certificates(self, kubernetes: Kubernetes) -> str | None:
        ref = self.config.ca_secret_ref
        if ref is None:
            return None
        return certificates(await self._secret(kubernetes, ref.name), ref.key)

    async def _secret(self, kubernetes: Kubernetes, name: str) -> JsonObject:
        try:
            return await kubernetes.get(SECRETS, self.namespace, name)
        except NotFoundError:
            message = f"Secret {self.namespace}/{name} does not exist; create it or correct its name."
            raise UnusableError("SecretNotFound", message) from None

    async def _need_service_account(self, kubernetes: Kubernetes) -> None:
        name = self.config.service_account_name
        if name is None:
            return
        try:
            await kubernetes.get(SERVICE_ACCOUNTS, self.namespace, name)
        except NotFoundError:
            message = f"ServiceAccount {self.namespace}/{name} does not exist; create it or correct serviceAccountName."
            raise UnusableError("ServiceAccountNotFound", message) from None


class UnusableError(Exception):
    """Something in the cluster that the store needs is missing or wrong."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def credential(secret: JsonObject, key: str) -> str:
    """Return the value of a key that holds a part of an access key; raises UnusableError."""
    where = f"Secret {secret['metadata']['namespace']}/{secret['metadata']['name']}"
    value = _value(secret, key)
    if not value:
        problem = "has no key" if value is None else "has an empty"
        raise UnusableError("SecretKeyMissing", f"{where} {problem} {key}; add it.")
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text or " " in text:
        message = f"{where} has blanks, line ends or other foreign characters in {key}; store the bare value."
        raise UnusableError("InvalidCredentials", message)
    return text


def certificates(secret: JsonObject, key: str) -> str:
    """Return the PEM certificates that a key holds; raises UnusableError."""
    where = f"Secret {secret['metadata']['namespace']}/{secret['metadata']['name']}"
    value = _value(secret, key)
    if value is None:
        raise UnusableError("SecretKeyMissing", f"{where} has no key {key}; add it.")
    try:
        text = value.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (UnicodeDecodeError, ssl.SSLError, ValueError):
        message = f"{where} has no PEM certificate in {key}; put the certificate of the authority there, as text."
        raise UnusableError("CASecretInvalid", message) from None
    return text


@dataclass(frozen=True)
class Outcome:
    """What a check met with."""

    seen: bool = False
    """Whether the bucket itself, apart from objects in it, answered."""
    created: bool = False
    matched: bool = True
    """Whether the probe came back as it was written."""
    error: S3Error | None = None
    """What ended the check early."""


REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
REDIRECTS = frozenset({HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.TEMPORARY_REDIRECT})
SILENT = REFUSALS | {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}
"""Answers to HeadBucket that settle nothing, having no body: the write, which may be allowed all the same, says why."""
MOVED = REFUSALS | REDIRECTS | {HTTPStatus.BAD_REQUEST}
"""Answers to HeadBucket that may come with the region that the bucket is in."""


def probe(bucket: Bucket, key: str, *, create: bool) -> Outcome:
    """Find or create the bucket, then write, read, compare and delete an object. Blocks, raises nothing."""
    seen, created = True, False
    content = secrets.token_bytes(32)
    try:
        try:
            bucket.head()
        except RefusedError as error:
            if error.status not in SILENT:
                raise
            if error.status == HTTPStatus.NOT_FOUND and create:
                created = _create(bucket)
            else:
                seen = False
        version = bucket.put(key, content)
        try:
            found = bucket.get(key, limit=len(content) + 1)
        finally:
            refusal = _delete(bucket, key, version)
        return Outcome(seen=seen, created=created, matched=found == content, error=refusal)
    except S3Error as error:
        return Outcome(seen=seen, created=created, error=error)


def look(bucket: Bucket) -> Outcome:
    """Ask for the bucket without credentials: one that exists is refused, another not found. Blocks, raises nothing."""
    try:
        bucket.head()
    except RefusedError as error:
        if error.status in REFUSALS and error.region in {None, bucket.region}:
            return Outcome()
        return Outcome(error=error)
    except S3Error as error:
        return Outcome(error=error)
    return Outcome(seen=True)


def probe_key(prefix: str, namespace: str, name: str) -> str:
    """Return the probe's key: one for a component and process, so that what cannot be deleted does not pile up."""
    component = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:8]
    return _join(prefix, f".cairn-probe-{component}-{_PROCESS}")


@dataclass(frozen=True)
class Place:
    """What a message about the bucket names."""

    bucket: str
    below: str
    """The URI of the prefix, with a slash at its end."""
    region: str
    endpoint: str
    secret: str | None = None
    """The Secret with the access key, as `Secret namespace/name`."""
    has_ca: bool = False

    @property
    def name(self) -> str:
        """The bucket and where it is, for the beginning of a sentence."""
        return f"Bucket {self.bucket} at {self.endpoint}"


CREDENTIALS, REGION, CLOCK = "InvalidCredentials", "WrongRegion", "ClockSkewed"

WRONG_KEY = f"{{endpoint}} does not know the access key in {{secret}}; correct {ACCESS_KEY_ID} there."
WRONG_SECRET = (
    f"{{endpoint}} finds that the secret key in {{secret}} is a wrong one; correct {SECRET_ACCESS_KEY} there."
)
WRONG_TOKEN = f"{{endpoint}} does not accept the token in {{secret}}; correct {SESSION_TOKEN} there, or remove it."
EXPIRED = "{endpoint} finds the credentials in {secret} expired; renew them."
ELSEWHERE = "{bucket} is in {there}, not in region {region}; correct region."
SKEWED = "The clocks of {endpoint} and of the operator's node are too far apart ({answer}); synchronize them."

BY_CODE: Mapping[str, tuple[str, str]] = {
    "InvalidAccessKeyId": (CREDENTIALS, WRONG_KEY),
    "AuthorizationHeaderMalformed": (CREDENTIALS, WRONG_KEY),
    "SignatureDoesNotMatch": (CREDENTIALS, WRONG_SECRET),
    "InvalidToken": (CREDENTIALS, WRONG_TOKEN),
    "ExpiredToken": (CREDENTIALS, EXPIRED),
    "TokenRefreshRequired": (CREDENTIALS, EXPIRED),
    "PermanentRedirect": (REGION, ELSEWHERE),
    "IllegalLocationConstraintException": (REGION, ELSEWHERE),
    "InvalidLocationConstraint": (REGION, "{endpoint} creates no bucket in region {region}; correct region."),
    "RequestTimeTooSkewed": (CLOCK, SKEWED),
    "RequestExpired": (CLOCK, SKEWED),
    "NoSuchKey": (
        "ProbeMismatch",
        "{bucket} lost an object right after its write; look for a cache or proxy before it.",
    ),
    "BucketAlreadyExists": (
        "BucketCreateDenied",
        "{bucket} could not be created: another account has one of that name ({answer}); choose another name.",
    ),
}
"""Reason and message by the error code of the answer."""

BY_REASON: Mapping[str, str] = {
    "ServerError": "{bucket} failed in {operation} ({answer}); look into the server's log.",
    "BucketCreateDenied": "{bucket} does not exist and could not be created ({answer}); allow s3:CreateBucket to "
    "{holder}, or create it yourself.",
    "BucketNotFound": "{bucket} does not exist; create it, correct its name, or set createBucket to true.",
    "AccessDenied": "{bucket} refuses {operation} to {holder} ({answer}); allow s3:{operation} on {below}*.",
    "WriteDenied": "{bucket} refuses {operation} to {holder} ({answer}); allow s3:{operation} on {below}*.",
    "UnexpectedAnswer": "{endpoint} answered {operation} with {answer}; make sure that it is the address of an S3 API.",
}


def explain(error: S3Error, place: Place, *, seen: bool = False) -> tuple[str, str]:
    """Return the reason and the message for an error.

    Where the bucket was `seen`, a refusal to write means a key that can read only; else, one that can do nothing.
    """
    if isinstance(error, UnreachableError):
        return "EndpointUnreachable", f"{place.endpoint} {error.detail}; {error.hint}."
    if isinstance(error, UntrustedError):
        action = "have one issued that is valid for this host and time"
        if error.unknown_authority:
            end = "the Secret of caSecretRef" if place.has_ca else "a Secret and name that in caSecretRef"
            action = f"put the authority that signed it into {end}"
        return "TLSUntrusted", f"The certificate of {place.endpoint} is not trusted ({error.detail}); {action}."
    if not isinstance(error, RefusedError):
        raise TypeError(type(error))
    reason, template = _classify(error, place, seen=seen)
    message = template.format(
        bucket=place.name,
        below=place.below,
        endpoint=place.endpoint,
        region=place.region,
        there=f"region {error.region}" if error.region else "another region",
        secret=place.secret or "the request",
        holder=f"the access key in {place.secret}" if place.secret else "requests without credentials",
        operation=error.operation,
        answer=error.detail,
    )
    return reason, message


def _classify(error: RefusedError, place: Place, *, seen: bool) -> tuple[str, str]:
    """Return the reason and the message's template, by the code where it says enough, else by operation and status."""
    malformed = error.code == "AuthorizationHeaderMalformed"
    if error.region not in {None, place.region} and (
        malformed or (error.operation == "HeadBucket" and error.status in MOVED)
    ):
        return REGION, ELSEWHERE
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    if error.status in REDIRECTS:
        return REGION, ELSEWHERE
    reason = _reason_by_status(error, seen=seen)
    return reason, BY_REASON[reason]


def _reason_by_status(error: RefusedError, *, seen: bool) -> str:
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "ServerError"
    if error.status in REFUSALS and error.operation != "CreateBucket":
        return "WriteDenied" if seen and error.operation == "PutObject" else "AccessDenied"
    if error.code == "NoSuchBucket" or (error.status == HTTPStatus.NOT_FOUND and error.operation == "HeadBucket"):
        return "BucketNotFound"
    if error.operation == "CreateBucket" and (error.code or error.status in REFUSALS):
        return "BucketCreateDenied"
    return "UnexpectedAnswer"


def _create(bucket: Bucket) -> bool:
    """Create the bucket; return False where somebody else did so in the meantime."""
    try:
        bucket.create()
    except RefusedError as error:
        if error.code == "BucketAlreadyOwnedByYou":
            return False
        raise
    return True


def _delete(bucket: Bucket, key: str, version: str | None) -> S3Error | None:
    """Delete the object, for good where the bucket keeps versions and that is allowed; return what prevented it."""
    try:
        try:
            bucket.delete(key, version)
        except RefusedError:
            if version is None:
                raise
            bucket.delete(key)
    except S3Error as error:
        return error
    return None


def _data(secret: JsonObject) -> JsonObject:
    return secret.get("data") or {}


def _value(secret: JsonObject, key: str) -> bytes | None:
    encoded = _data(secret).get(key)
    return None if encoded is None else base64.b64decode(encoded)


def _from_secret(secret: str, key: str, *, optional: bool = False) -> JsonObject:
    ref: JsonObject = {"name": secret, "key": key}
    if optional:
        ref["optional"] = True
    return {"name": key, "valueFrom": {"secretKeyRef": ref}}


def _join(prefix: str, key: str) -> str:
    return f"{prefix}/{key}" if prefix else key


_PROCESS = secrets.token_hex(4)
