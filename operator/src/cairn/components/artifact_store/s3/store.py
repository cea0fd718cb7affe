"""The artifact store `s3`: its check, and what pods need to reach the bucket."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import SERVICE_ACCOUNTS, Kubernetes, NotFoundError
from cairn.clients.s3 import Bucket, Credentials, S3Error, UnreachableError, in_thread
from cairn.components.artifact_store.s3.client import S3Client
from cairn.components.artifact_store.s3.config import S3Config
from cairn.components.artifact_store.s3.diagnosis import (
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
    Place,
    explain,
)
from cairn.components.artifact_store.s3.probe import Outcome, join_key, look, probe, probe_key
from cairn.components.base import ArtifactStore, StoreAccess, StoreClient, StoreUnavailableError, Surroundings, Verdict
from cairn.components.secrets import (
    UnusableError,
    certificates,
    credential,
    from_secret,
    has_key,
    mounted,
    secret_named,
)
from cairn.components.step_access import StepAccess

CHECK_SECONDS = 8
"""How long the requests of one check may take together."""
OPENING_SECONDS = 10
"""How long it may take to make a client of a bucket, which sends nothing yet."""

CA_VOLUME = "cairn-store-ca"
CA_DIRECTORY = "/cairn/ca"
CODE_CA_VOLUME = "cairn-code-store-ca"
CODE_CA_DIRECTORY = "/cairn/code-ca"
CA_FILE = "ca.crt"


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
        return f"s3://{self.config.bucket}/{join_key(self.config.prefix, key)}"

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
            env += [from_secret(name, ACCESS_KEY_ID), from_secret(name, SECRET_ACCESS_KEY)]
            env += [from_secret(name, SESSION_TOKEN, optional=True)]
        volumes, mounts = self._authority(CA_VOLUME, CA_DIRECTORY)
        if volumes:
            settings["caFile"] = f"{CA_DIRECTORY}/{CA_FILE}"
        return StoreAccess(
            settings={"s3": settings},
            env=env,
            volumes=volumes,
            volume_mounts=mounts,
            service_account_name=config.service_account_name,
        )

    @property
    def code_access(self) -> StepAccess:
        """What Amazon's library for Python reads, and MLflow's client."""
        access, style = self.access, "path" if self.path_style else "virtual"
        values = {"AWS_DEFAULT_REGION": self.config.region, "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": style}
        if self.config.endpoint is not None:
            values |= dict.fromkeys(("AWS_ENDPOINT_URL_S3", "MLFLOW_S3_ENDPOINT_URL"), self.config.endpoint)
        volumes, mounts = self._authority(CODE_CA_VOLUME, CODE_CA_DIRECTORY)
        if volumes:
            values["AWS_CA_BUNDLE"] = f"{CODE_CA_DIRECTORY}/{CA_FILE}"
        env = [*access.env, *({"name": name, "value": value} for name, value in values.items())]
        return StepAccess(env, volumes, mounts)

    def _authority(self, volume: str, directory: str) -> tuple[list[JsonObject], list[JsonObject]]:
        """Return volumes, and their mounts, with the endpoint's authority; none where that is a public one."""
        ref = self.config.ca_secret_ref
        if ref is None:
            return [], []
        made, mount = mounted(ref, volume, directory, CA_FILE)
        return [made], [mount]

    @property
    def serves_uris(self) -> bool:
        """A bucket does."""
        return True

    async def check(self, kubernetes: Kubernetes, surroundings: Surroundings) -> Verdict:  # noqa: ARG002 - it refers to no other component
        """Write, read and delete a probe object, so that Ready means usable.

        The operator lends no identity of its own to whoever names a bucket. Without an access key, all that it can
        find out is whether the bucket is there.
        """
        config = self.config
        try:
            bucket = await self._bucket(kubernetes)
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
            below=f"s3://{config.bucket}/{join_key(config.prefix, '')}",
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

    @property
    def open_to_operator(self) -> bool:
        """With an access key, which the operator uses as pods do."""
        return self.config.credentials_secret_ref is not None

    async def client(self, kubernetes: Kubernetes) -> StoreClient:
        """Return the operator's own way into the bucket; raises StoreUnavailableError."""
        try:
            bucket = await self._bucket(kubernetes)
        except UnusableError as error:
            raise StoreUnavailableError(error.reason, error.message) from error
        # botocore reads its descriptions of services from files, which takes some tenths of a second the first time
        try:
            return await in_thread(
                lambda: S3Client(bucket, self.config.prefix, self._unavailable), seconds=OPENING_SECONDS
            )
        except TimeoutError as error:
            slow = UnreachableError(
                bucket.operation, "could not be opened in time", "see whether the operator has a CPU"
            )
            raise self._unavailable(slow, bucket.endpoint) from error

    def _unavailable(self, error: S3Error, endpoint: str | None) -> StoreUnavailableError:
        verdict = self.judge(Outcome(error=error, seen=True), endpoint)
        return StoreUnavailableError(verdict.reason, verdict.message)

    async def _bucket(self, kubernetes: Kubernetes) -> Bucket:
        """Return the bucket with what is needed to open it; raises UnusableError."""
        return Bucket(
            self.config.bucket,
            endpoint=self.config.endpoint,
            region=self.config.region,
            path_style=self.path_style,
            credentials=await self._credentials(kubernetes),
            ca=await self._certificates(kubernetes),
        )

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
        secret = await secret_named(kubernetes, self.namespace, ref.name)
        return Credentials(
            access_key_id=credential(secret, ACCESS_KEY_ID),
            secret_access_key=credential(secret, SECRET_ACCESS_KEY),
            session_token=credential(secret, SESSION_TOKEN) if has_key(secret, SESSION_TOKEN) else None,
        )

    async def _certificates(self, kubernetes: Kubernetes) -> str | None:
        ref = self.config.ca_secret_ref
        if ref is None:
            return None
        return certificates(await secret_named(kubernetes, self.namespace, ref.name), ref.key)

    async def _need_service_account(self, kubernetes: Kubernetes) -> None:
        name = self.config.service_account_name
        if name is None:
            return
        try:
            await kubernetes.get(SERVICE_ACCOUNTS, self.namespace, name)
        except NotFoundError:
            message = f"ServiceAccount {self.namespace}/{name} does not exist; create it or correct serviceAccountName."
            raise UnusableError("ServiceAccountNotFound", message) from None
