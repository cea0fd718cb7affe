"""Starts the server: `mlflow server` with the arguments given."""

from __future__ import annotations

import os
import sys

import auth_config
import database_uri

database_uri.name_driver()
auth_config.write()
os.execvp("mlflow", ["mlflow", "server", *sys.argv[1:]])
