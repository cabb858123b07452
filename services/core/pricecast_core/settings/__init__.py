"""The settings of every service, described once.

A process reads them by `load`: from a JSON document, and from variables named after the fields in upper case
(`KAFKA_BROKERS`), which come first. The plan builds the same classes, and both runtimes write their `document`, so that
a setting can't be misspelt between the two. docs/reference/settings.md is generated from here.
"""

from pricecast_core.settings.base import DOCUMENT_VARIABLE, ServiceSettings, StreamSettings, load, read
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
    "DOCUMENT_VARIABLE",
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
    "load",
    "read",
]
