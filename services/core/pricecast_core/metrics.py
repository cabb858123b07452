"""Every metric of every service, described once; docs/reference/metrics.md is generated from here.

Names follow Prometheus' conventions (base units, `_total` on counters). Labels are few and bounded: the service, a
pair, a reason. Hot paths keep the labelled child (`counter.labels(...)`), which is four times cheaper than looking
it up.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

MESSAGES_IN = Counter("pricecast_messages_in_total", "Messages read", ["service", "topic"])
MESSAGES_OUT = Counter("pricecast_messages_out_total", "Messages written", ["service", "topic"])
DEAD_LETTERS = Counter("pricecast_dead_letters_total", "Messages refused, by reason", ["service", "reason"])
EVENT_TIME = Gauge(
    "pricecast_event_time_seconds", "Event time of the newest message handled, Unix seconds", ["service", "key"]
)
CONSUMER_LAG = Gauge("pricecast_consumer_lag_messages", "Messages not yet read", ["service", "topic"])
STORE_SECONDS = Histogram(
    "pricecast_store_seconds",
    "Time of one call to a store",
    ["service", "operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
STORE_ERRORS = Counter("pricecast_store_errors_total", "Calls to a store that failed", ["service", "operation"])

TRADES_RECONNECTS = Counter("pricecast_trades_reconnects_total", "Reconnects of the exchange's stream", ["source"])
TRADES_REST_RETRIES = Counter(
    "pricecast_trades_rest_retries_total", "Calls to the exchange's REST API that failed and were repeated", ["reason"]
)
TRADES_GAPS = Counter(
    "pricecast_trades_gaps_total", "Gaps in the exchange's stream, by how they ended", ["pair", "end"]
)
TRADES_MISSING = Counter(
    "pricecast_trades_missing_total",
    "Trades whose numbers were leapt over, which the exchange gives neither live nor by REST",
    ["pair"],
)
TRADES_DUPLICATES = Counter("pricecast_trades_duplicates_total", "Trades seen twice at a seam and dropped", ["pair"])
LATE_TRADES = Counter("pricecast_late_trades_total", "Trades too late for their candle, dead-lettered", ["pair"])
FLAT_CANDLES = Counter("pricecast_flat_candles_total", "Candles that fill quiet windows", ["pair"])

PREDICTIONS = Counter("pricecast_predictions_total", "Predictions made", ["pair", "horizon", "model"])
SCORED = Counter("pricecast_predictions_scored_total", "Predictions scored against what happened", ["pair", "horizon"])
LIVE_DISTRIBUTION_SKILL = Gauge(
    "pricecast_live_distribution_skill", "Rolling 1 - pinball loss / naive pinball loss", ["pair", "horizon"]
)
LIVE_POINT_SKILL = Gauge("pricecast_live_point_skill", "Rolling 1 - MAE / MAE of the last price", ["pair", "horizon"])
LIVE_COVERAGE = Gauge(
    "pricecast_live_interval_coverage_ratio", "Rolling share inside the interval", ["pair", "horizon"]
)
FEATURE_DISTANCE = Gauge(
    "pricecast_feature_distance_ratio",
    "Distance of the newest row from those that the model learned from: above 1 for one in a thousand of them",
    ["pair", "horizon"],
)
VOLATILITY = Gauge(
    "pricecast_volatility_ratio",
    "Local volatility, in units of what one in a thousand rows of the training had",
    ["pair", "horizon"],
)
FEATURE_DRIFT = Gauge(
    "pricecast_feature_drift_ratio", "Share of the features whose distribution has moved", ["pair", "horizon"]
)
FEATURE_PSI = Gauge(
    "pricecast_feature_psi_ratio",
    "Population stability index of a feature over the newest day against the training",
    ["pair", "feature"],
)
MODEL_TRAINED_THROUGH = Gauge(
    "pricecast_model_trained_through_seconds", "Event time of the newest row trained on", ["pair", "horizon"]
)
MODEL_VERSION = Gauge(
    "pricecast_model_version", "Registry version served; 0 is the naive forecast", ["pair", "horizon"]
)

API_REQUESTS = Counter("pricecast_api_requests_total", "Requests answered", ["protocol", "method", "code"])
API_REFUSALS = Counter(
    "pricecast_api_refusals_total", "Requests refused for want of access or for their rate", ["code"]
)
API_SECONDS = Histogram(
    "pricecast_api_seconds",
    "Time to answer",
    ["protocol", "method"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)

NEWS_READ = Counter("pricecast_news_read_total", "Headlines read from the source, new or not", ["source"])
NEWS_DUPLICATES = Counter("pricecast_news_duplicates_total", "Headlines seen before and dropped", ["source"])
NEWS_SOURCE_ERRORS = Counter("pricecast_news_source_errors_total", "Reads of a news source that failed", ["source"])
NEWS_SIGNALS_CACHED = Counter("pricecast_news_signals_cached_total", "Headlines answered from the cache", ["model"])
NEWS_MODEL_SECONDS = Histogram(
    "pricecast_news_model_seconds",
    "Time of one answer of the model that reads the news",
    ["model"],
    buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
NEWS_MODEL_ERRORS = Counter(
    "pricecast_news_model_errors_total", "Answers that failed: unavailable, or outside the schema", ["model", "reason"]
)
NEWS_MODEL_UP = Gauge("pricecast_news_model_up", "1 while the model that reads the news answers", ["model"])

FINETUNE_STEP = Gauge("pricecast_finetune_step", "Training step reached", ["job"])
FINETUNE_TOTAL_STEPS = Gauge("pricecast_finetune_total_steps", "Training steps in all", ["job"])
FINETUNE_LOSS = Gauge("pricecast_finetune_loss", "Training loss of the newest step", ["job"])
FINETUNE_ETA_SECONDS = Gauge("pricecast_finetune_eta_seconds", "Estimated time left", ["job"])
FINETUNE_TOKENS_PER_SECOND = Gauge("pricecast_finetune_tokens_per_second", "Tokens trained on per second", ["job"])
FINETUNE_F1 = Gauge("pricecast_finetune_f1", "F1 on the held-out headlines", ["job", "reader"])
API_WATCHERS = Gauge("pricecast_api_watchers", "Callers that watch predictions as they are made")
