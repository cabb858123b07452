"""The core's values as a resource declares them: what a model checks, and beside it the rule that the API server checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from pricecast_core import indicators as table
from pricecast_core.errors import SettingsError
from pricecast_core.values import DISTINCT, KRAKEN_TO_COMMON, MOST_COINS, Coin, Pair, common_names
from pricecast_resources.base import SET, rule, rules


def _cel(value: Any) -> str:
    """Returns a value of strings, numbers, lists and maps as CEL writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_cel(key)}: {_cel(each)}" for key, each in value.items()) + "}"
    return repr(value)


_RIGHT_NAME = "('<' + self.replace('/', '>/<') + '>')" + "".join(
    f".replace('<{own}>', '{common}')" for own, common in KRAKEN_TO_COMMON.items()
)
_COMMON_NAMES = rules(
    rule(
        f"!self.split('/').exists(coin, coin in {_cel(list(KRAKEN_TO_COMMON))})",
        f"is Kraken's name; write {' and '.join(f'{common} for {own}' for own, common in KRAKEN_TO_COMMON.items())}",
        telling=f"self + \": is Kraken's name; write \" + {_RIGHT_NAME}.replace('<', '').replace('>', '')",
    )
)
DeclaredPair = Annotated[Pair, AfterValidator(common_names), Field(json_schema_extra=_COMMON_NAMES)]
DeclaredCoin = Annotated[Coin, AfterValidator(common_names), Field(json_schema_extra=_COMMON_NAMES)]
Pairs = Annotated[list[DeclaredPair], DISTINCT, Field(json_schema_extra=SET)]
Coins = Annotated[list[DeclaredCoin], DISTINCT, Field(max_length=MOST_COINS, json_schema_extra=SET)]


def _reads(read: Callable[[Any], object]) -> AfterValidator:
    """Returns a validator that keeps what can be read as indicators, and says why something can't."""

    def validate(value: Any) -> Any:
        try:
            read(value)
        except SettingsError as error:
            raise ValueError(str(error).removeprefix("indicators: ")) from error
        return value

    return AfterValidator(validate)


_NAME = "self.split('(')[0].trim()"
_PERIODS = "self.substring(self.indexOf('(') + 1, self.indexOf(')')).split(',')"
_BY_NAME = {one.name: one for one in table.INDICATORS}
_INDICATOR_RULES = rules(
    rule(
        f"{_NAME} in {_cel(list(_BY_NAME))}",
        f"is unknown; known are {', '.join(_BY_NAME)}",
        telling=f'"\'" + {_NAME} + "\' is unknown; known are {", ".join(_BY_NAME)}"',
    ),
    rule(
        f"!self.contains('(') || !({_NAME} in {_cel(list(_BY_NAME))})"
        f" || {_PERIODS}.size() == {_cel({name: one.arity for name, one in _BY_NAME.items()})}[{_NAME}]"
        f" && {_PERIODS}.all(period, int(period.trim()) <= {table.LONGEST_PERIOD})",
        "has the wrong periods",
        telling=f'"\'" + self + "\' " + {_cel({name: one.usage for name, one in _BY_NAME.items()})}[{_NAME}]',
    ),
    *(
        rule(
            f"!self.contains('(') || {_NAME} != '{one.name}' || {_PERIODS}.size() < 2"
            f" || int({_PERIODS}[0].trim()) < int({_PERIODS}[1].trim())",
            one.order,
            telling=f'"\'" + self + "\' {one.order}"',
        )
        for one in table.INDICATORS
        if one.ascending
    ),
)
_EXAMPLES = _cel({one.name: one.example for one in table.INDICATORS})


def _spelt_out(term: str) -> str:
    """Returns the CEL expression of an indicator with its periods, in one spelling."""
    spelt = f"{term}.replace(' ', '')"
    return f"({spelt} in {_EXAMPLES} ? {_EXAMPLES}[{spelt}] : {spelt})"


_Indicator = Annotated[
    str,
    _reads(table.read),
    Field(
        max_length=40,
        json_schema_extra={
            "pattern": r"^ *[a-z_]+ *(\( *[1-9][0-9]{0,3}( *, *[1-9][0-9]{0,3})* *\))? *$",
            **_INDICATOR_RULES,
        },
    ),
]
Indicators = Annotated[
    list[_Indicator],
    _reads(table.choose),
    Field(
        max_length=64,
        json_schema_extra=rules(
            rule(
                f"self.all(one, self.exists_one(other, {_spelt_out('one')} == {_spelt_out('other')}))",
                "an indicator is listed twice; list it once (a name alone means its first default periods)",
            )
        ),
    ),
]
