"""The registry of model kinds: a new kind is a module of its own and one entry here."""

from __future__ import annotations

from pricecast_core.errors import SettingsError
from pricecast_core.values import MODEL_KINDS
from pricecast_price_predictor.models.base import Kind
from pricecast_price_predictor.models.ensemble import Ensemble
from pricecast_price_predictor.models.ewma import Ewma
from pricecast_price_predictor.models.garch import Garch
from pricecast_price_predictor.models.har import HarSeasonal
from pricecast_price_predictor.models.naive import Naive
from pricecast_price_predictor.models.quantiles import Quantiles
from pricecast_price_predictor.models.trees import Trees

_ALL: tuple[Kind, ...] = (Ensemble(), Trees(), HarSeasonal(), Ewma(), Garch(), Quantiles(), Naive())
KINDS = {kind.name: kind for kind in _ALL}
DEFAULT = MODEL_KINDS[0]


def kind_of(name: str) -> Kind:
    """Returns a kind by its name.

    Raises:
        SettingsError: If there is none of that name.
    """
    try:
        return KINDS[name]
    except KeyError:
        raise SettingsError(f"model kind: {name!r} is unknown; take one of {', '.join(KINDS)}") from None
