"""The operator's settings, from environment variables with the prefix CAIRN_; the chart sets them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """How this operator runs."""

    model_config = SettingsConfigDict(env_prefix="CAIRN_")

    namespaces: str = Field(
        default="", description="Namespaces to serve, separated by commas. Empty: all of the cluster."
    )
    step_image: str = Field(description="Image of the containers that fetch and publish artifacts: the operator's own.")
    step_image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    step_resources: dict[str, dict[str, str]] = Field(
        default={"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        description="Resources of those containers.",
    )
    check_interval_seconds: float = Field(
        default=300, ge=1, description="Time between two checks of a component that is Ready."
    )
    retry_interval_seconds: float = Field(default=5, ge=1, description="Time between two checks of one that is not.")
    insecure_registries: str = Field(
        default="",
        description="Image registries that speak HTTP only, separated by commas, such as registry.example.com:5000.",
    )
    charts: Path = Field(
        default=Path("/opt/cairn/charts"), description="Directory of the charts that components have installed."
    )
    mlflow_image: str = Field(
        default="", description="Image of the MLflow servers that components have installed. Empty: the chart's own."
    )
    lease: str = Field(
        default="",
        description="Lease, as NAMESPACE/NAME, whose holder works while other operators wait. Empty: this one works at once.",
        pattern=r"^([^/]+/[^/]+)?$",
    )
    tracing_endpoint: str = Field(
        default="",
        description="Collector that gets a trace of each run by OTLP over HTTP, such as http://collector:4318. Empty: no traces.",
        pattern=r"^(https?://\S+)?$",
    )
    workers: int = Field(
        default=16, ge=1, le=256, description="How many objects of a kind are reconciled at the same time."
    )
    http_port: int = Field(default=8080, ge=1, le=65535, description="Port of /healthz, /readyz and /metrics.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"

    @property
    def namespace_list(self) -> tuple[str, ...]:
        """The namespaces to serve; empty for all."""
        return _items(self.namespaces)

    @property
    def insecure_registry_list(self) -> tuple[str, ...]:
        """The registries that speak HTTP only."""
        return _items(self.insecure_registries)


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
