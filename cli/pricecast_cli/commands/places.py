"""Stores named by one URL on a command line; their keys are in the variables that the services read."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from pricecast_core.errors import SettingsError
from pricecast_core.stores.features import FeatureStore
from pricecast_core.stores.models import ModelRegistry


def feature_store(url: str) -> FeatureStore:
    """Returns the feature store at `sqlite:///`, `postgresql://` or `hopsworks://HOST[:PORT]/PROJECT`."""
    if not url.startswith("hopsworks://"):
        from pricecast_core.stores.features_sql import SqlFeatureStore

        return SqlFeatureStore(url)
    from pricecast_core.stores.features_hopsworks import HopsworksFeatureStore
    from pricecast_core.stores.hopsworks import HopsworksAccess

    parsed = urlsplit(url)
    project = parsed.path.strip("/")
    if not parsed.hostname or not project:
        raise SettingsError(f"{url!r}: is not a feature store; write hopsworks://HOST[:PORT]/PROJECT")
    key, ca = api_key("HOPSWORKS_API_KEY"), os.environ.get("HOPSWORKS_CA", "")
    return HopsworksFeatureStore(HopsworksAccess(parsed.hostname, parsed.port or 443, project, key, ca))


def model_registry(url: str) -> ModelRegistry:
    """Returns the model registry at `sqlite:///`, `postgresql://` or `comet://WORKSPACE/PROJECT`."""
    if not url.startswith("comet://"):
        from pricecast_core.stores.models_sql import SqlModelRegistry

        return SqlModelRegistry(url)
    from pricecast_core.stores.models_comet import CometAccess, CometModelRegistry

    workspace, _, project = url.removeprefix("comet://").strip("/").partition("/")
    if not workspace or not project:
        raise SettingsError(f"{url!r}: is not a model registry; write comet://WORKSPACE/PROJECT")
    address = os.environ.get("COMET_URL", "") or "https://www.comet.com"
    return CometModelRegistry(CometAccess(address, workspace, project, api_key("COMET_API_KEY")))


def api_key(variable: str) -> str:
    """Returns the API key in a variable."""
    key = os.environ.get(variable, "")
    if not key:
        raise SettingsError(f"{variable}: is not set; set it to an API key")
    return key
