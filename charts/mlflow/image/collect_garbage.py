"""Removes for good what has been deleted: `mlflow gc` with the arguments given."""

from __future__ import annotations

import os
import sys

import database_uri

database_uri.name_driver()
os.execvp("mlflow", ["mlflow", "gc", *sys.argv[1:]])
