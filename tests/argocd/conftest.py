"""A cluster with nothing but Argo CD, a Git server, and, where a test asks for it, the platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cluster import Cluster
from tests.argocd.argo_cd import ArgoCD
from tests.argocd.platform import APPLICATIONS, ROOT, TEAM, application, commit, root
from tests.argocd.repository import Repository, git_server
from tests.argocd.watched_runs import WatchedRuns

ORDER = (
    "test_health.py",
    "test_actions.py",
    "test_platform.py",
    "test_runs.py",
    "test_tracking.py",
    "test_self_heal.py",
    "test_taking_down.py",
)
APPLIED_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look at what one apply brings about before anything is broken, and take it down last."""
    items.sort(key=lambda item: ORDER.index(item.path.name))


@dataclass(frozen=True)
class Platform:
    """The platform, all of it applied by Argo CD."""

    argo: ArgoCD
    repository: Repository
    team: Cluster
    """The namespace of the team."""
    runs: WatchedRuns
    """Every run that there has been."""

    def commit(self, message: str, *applications: str) -> None:
        """Push what was changed in the repository, and wait until those Applications have applied it."""
        commit(self.argo, self.repository, message, *applications)

    def add(self, name: str, path: str) -> None:
        """Have Argo CD keep another directory, which is pushed already."""
        self.argo.cluster.apply(application(self.repository, name, path))


@pytest.fixture(scope="session")
def argo() -> ArgoCD:
    """Argo CD, installed."""
    argo = ArgoCD(Cluster.connect())
    argo.install()
    return argo


@pytest.fixture(scope="session")
def repository(argo: ArgoCD, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """The repository, pushed, with a schedule that need not be waited for long."""
    way = git_server(argo.cluster)
    repository = Repository(tmp_path_factory.mktemp("repository"), way)
    repository.replace("manifests/argocd/pipelines/report.yaml", '"*/15 * * * *"', '"* * * * *"')
    repository.push("The platform")
    yield repository
    way.close()


@pytest.fixture(scope="session")
def platform(argo: ArgoCD, repository: Repository) -> Iterator[Platform]:
    """The platform, after one apply of the root app."""
    argo.cluster.apply(root(repository))
    for name in (*APPLICATIONS, ROOT):
        argo.wait(name, health="Healthy", timeout=APPLIED_SECONDS)
    team = argo.cluster.within(TEAM)
    with WatchedRuns(team) as runs:
        yield Platform(argo, repository, team, runs)
