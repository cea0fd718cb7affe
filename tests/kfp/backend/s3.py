"""Files and directories to and from an S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError


def split(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of a URI."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


class S3:
    """Moves artifacts; credentials come from the environment, as AWS names them."""

    def __init__(self, endpoint: str, region: str = "us-east-1") -> None:
        config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "max_attempts": 5})
        session = botocore.session.get_session()
        self._client: Any = session.create_client("s3", region_name=region, endpoint_url=endpoint, config=config)

    def upload(self, path: Path, uri: str) -> None:
        """Put a file, or all files of a directory, under a URI."""
        bucket, key = split(uri)
        if path.is_dir():
            for file in sorted(one for one in path.rglob("*") if one.is_file()):
                self._put(bucket, f"{key}/{file.relative_to(path)}", file)
        else:
            self._put(bucket, key, path)

    def write(self, content: bytes, uri: str) -> None:
        """Put bytes under a URI."""
        bucket, key = split(uri)
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def download(self, uri: str, path: Path) -> bool:
        """Get a file, or a directory, from a URI; false if nothing is there."""
        bucket, key = split(uri)
        if self._get(bucket, key, path):
            return True
        found = list(self._keys(bucket, f"{key.rstrip('/')}/"))
        for one in found:
            self._get(bucket, one, path / one[len(key.rstrip("/")) + 1 :])
        return bool(found)

    def _put(self, bucket: str, key: str, file: Path) -> None:
        with file.open("rb") as content:
            self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def _get(self, bucket: str, key: str, path: Path) -> bool:
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
                return False
            raise
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in body.iter_chunks(2**20):
                file.write(chunk)
        return True

    def _keys(self, bucket: str, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return (one["Key"] for page in pages for one in page.get("Contents", []) if not one["Key"].endswith("/"))
