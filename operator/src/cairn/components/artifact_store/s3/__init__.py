"""The artifact store `s3`: a bucket of Amazon S3 or of a server that speaks its API."""
