"""The settings of every service, described once.

A service is configured by environment variables alone, named after the fields in upper case (`KAFKA_BROKERS`). The
operator's plan builds the same classes and turns them into the environment of a process or a container with
`to_env`, so that a setting can't be misspelt between the two. docs/settings.md is generated from here.
"""

from pricecast_core.settings.base import ServiceSettings, StreamSettings, from_values_alone, load
from pricecast_core.settings.candles import CandlesSettings
from pricecast_core.settings.finetune import FinetuneSettings
from pricecast_core.settings.news import NewsSettings
from pricecast_core.settings.news_signal import NewsSignalSettings
from pricecast_core.settings.prediction_api import PredictionApiSettings
from pricecast_core.settings.price_predictor import PricePredictorSettings
from pricecast_core.settings.technical_indicators import TechnicalIndicatorsSettings
from pricecast_core.settings.to_feature_store import ToFeatureStoreSettings
from pricecast_core.settings.trades import TradesSettings

__all__ = [
    "CandlesSettings",
    "FinetuneSettings",
    "NewsSettings",
    "NewsSignalSettings",
    "PredictionApiSettings",
    "PricePredictorSettings",
    "ServiceSettings",
    "StreamSettings",
    "TechnicalIndicatorsSettings",
    "ToFeatureStoreSettings",
    "TradesSettings",
    "from_values_alone",
    "load",
]
