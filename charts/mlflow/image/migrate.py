"""Brings the server's databases to the schema of this MLflow, and refuses to serve one of a newer MLflow.

Reads MLFLOW_BACKEND_STORE_URI; where users log in, MLFLOW_AUTH_CONFIG_PATH too. Why it failed is the container's termination
message.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import auth_config
import database_uri
import mlflow
import mlflow.db
import sqlalchemy
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from mlflow.store.db.utils import create_sqlalchemy_engine_with_retry

TERMINATION_MESSAGE = Path("/dev/termination-log")
SERVER = Path(mlflow.__file__).parent

logger = logging.getLogger("migrate")


class NewerSchemaError(Exception):
    """A newer MLflow has been there."""


class InvalidURIError(Exception):
    """The URI of the database is none."""


def main() -> int:
    """Migrate; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        migrate()
    except (InvalidURIError, NewerSchemaError) as error:
        return fail(str(error))
    except sqlalchemy.exc.SQLAlchemyError as error:
        return fail(f"The database cannot be migrated to MLflow {mlflow.__version__}: {error.__cause__ or error}")
    logger.info("The database has the schema of MLflow %s.", mlflow.__version__)
    return 0


def migrate() -> None:
    """Migrate the tracking database, and that of users.

    Raises:
        InvalidURIError: what MLFLOW_BACKEND_STORE_URI has is not the URI of a database.
        NewerSchemaError: there is no way back.
        sqlalchemy.exc.SQLAlchemyError: the database is away, or refuses.
    """
    uri = database_uri.name_driver()
    refuse_invalid(uri)
    refuse_newer(uri, SERVER / "store/db_migrations", "alembic_version")
    mlflow.db.upgrade.callback(uri)
    if "MLFLOW_AUTH_CONFIG_PATH" in os.environ:
        auth_config.write()
        migrate_users()


def refuse_invalid(uri: str) -> None:
    """Raise InvalidURIError where a driver would take a part of the password for the host, and tell it."""
    try:
        parsed = sqlalchemy.make_url(uri)
        parsed.get_dialect()
    except (ValueError, sqlalchemy.exc.ArgumentError):
        is_valid = False
    else:
        parts = f"{parsed.host}{parsed.database}"
        is_valid = "@" not in parts and not any(character.isspace() for character in parts)
    if not is_valid:
        raise InvalidURIError(
            "The URI of the database cannot be read: it does not begin with postgresql://, or ends with a line end, or something "
            "special in its password is not escaped; write %40 for an at sign, %2F for a slash, %3A for a colon."
        )


def migrate_users() -> None:
    """Migrate the database of users, which may be the same one."""
    # Importing these reads the configuration, which has to be there.
    from mlflow.server.auth.config import read_auth_config  # noqa: PLC0415
    from mlflow.server.auth.db.utils import migrate_if_needed  # noqa: PLC0415

    uri = read_auth_config().database_uri
    refuse_newer(uri, SERVER / "server/auth/db/migrations", "alembic_version_auth")
    engine = sqlalchemy.create_engine(uri)
    migrate_if_needed(engine, "head")
    engine.dispose()


def refuse_newer(uri: str, migrations: Path, version_table: str) -> None:
    """Raise NewerSchemaError where this MLflow does not know the schema that a database has."""
    engine = create_sqlalchemy_engine_with_retry(uri)
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection, opts={"version_table": version_table}).get_current_revision()
    engine.dispose()
    try:
        if revision is not None:
            ScriptDirectory(str(migrations)).get_revision(revision)
    except CommandError:
        raise NewerSchemaError(
            f"The database was upgraded by an MLflow newer than {mlflow.__version__}, to the schema {revision}, "
            "and there is no way back: install the newer version again, or restore a backup of the database."
        ) from None


def fail(message: str) -> int:
    """Leave the message where Kubernetes and people look for it."""
    logger.error(message)
    if TERMINATION_MESSAGE.exists():
        TERMINATION_MESSAGE.write_text(message[:4096])
    return 1


if __name__ == "__main__":
    sys.exit(main())
