"""The registry of model kinds: a new kind is a module of its own and one entry here."""

from __future__ import annotations

from pricecast_core.errors import SettingsError
from pricecast_price_predictor.models.base import Kind
from pricecast_price_predictor.models.naive import Naive
from pricecast_price_predictor.models.trees import Trees

_ALL: tuple[Kind, ...] = (Trees(), Naive())
KINDS = {kind.name: kind for kind in _ALL}
DEFAULT = "Trees"


def kind_of(name: str) -> Kind:
    """Returns a kind by its name.

    Raises:
        SettingsError: If there is none of that name.
    """
    try:
        return KINDS[name]
    except KeyError:
        raise SettingsError(f"model kind: {name!r} is unknown; take one of {', '.join(KINDS)}") from None
