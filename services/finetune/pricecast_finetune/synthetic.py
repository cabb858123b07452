"""Generates the dataset that comes with the package: `python -m pricecast_finetune.synthetic > data/headlines.jsonl`.

Sentences from patterns, with the signal that the pattern means: enough to try the whole path and to test it, free of
anybody's rights. It is far easier than real headlines, so an F1 on it says that the machinery works and no more.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import msgspec

from pricecast_core.news import dataset, prompt
from pricecast_core.news.lexicon import Signal
from pricecast_core.settings.news_signal import DEFAULT_COINS

TEACHER = "pattern"
COUNT = 400
SEED = 20261124

_NAMES = {
    "BTC": ("Bitcoin", "BTC", "Bitcoin (BTC)", "$BTC", "#Bitcoin"),
    "ETH": ("Ethereum", "ETH", "Ether", "Ethereum (ETH)", "$ETH"),
    "SOL": ("Solana", "SOL", "Solana (SOL)", "$SOL"),
    "XRP": ("XRP", "Ripple", "Ripple (XRP)", "$XRP"),
    "DOGE": ("Dogecoin", "DOGE", "Dogecoin (DOGE)", "$DOGE"),
    "ADA": ("Cardano", "ADA", "Cardano (ADA)", "$ADA"),
    "XLM": ("Stellar", "XLM", "Stellar Lumens (XLM)"),
    "LTC": ("Litecoin", "LTC", "Litecoin (LTC)", "$LTC"),
    "BCH": ("Bitcoin Cash", "BCH", "Bitcoin Cash (BCH)"),
    "DOT": ("Polkadot", "DOT", "Polkadot (DOT)", "$DOT"),
    "XMR": ("Monero", "XMR", "Monero (XMR)"),
    "EOS": ("EOS", "$EOS"),
    "XEM": ("NEM", "XEM", "NEM (XEM)"),
    "ZEC": ("Zcash", "ZEC", "Zcash (ZEC)"),
    "ETC": ("Ethereum Classic", "ETC", "Ethereum Classic (ETC)"),
}
_UP = (
    "{coin} jumps {n}% as {who} announces support",
    "{who} adds {coin} to its platform",
    "Why {coin} price is up {n}% today",
    "{coin} breaks above key level, analysts see more gains",
    "{who} buys ${n} million worth of {coin}",
    "{coin} network upgrade goes live on mainnet",
    "{coin} sees record inflows for the {n}th week",
    "Analyst: {coin} is primed for a breakout",
    "{country} to accept {coin} for tax payments",
    "{coin} staking launched by {who}",
    "BREAKING: regulators approve first {coin} ETF",
    "{coin} recovers from losses as buyers return",
)
_DOWN = (
    "{coin} plunges {n}% in worst day of the year",
    "{who} delists {coin} after review",
    "Hackers steal ${n} million in {coin} from bridge",
    "{coin} loses key support, more pain ahead?",
    "{country} bans {coin} payments",
    "Whale dumps ${n} million of {coin} on exchanges",
    "Regulators sue {who} over {coin} sales",
    "{coin} network halted for {n} hours after outage",
    "{coin} rally fails, price slides below support",
    "Analyst warns of deeper {coin} correction",
    "{who} suspends {coin} withdrawals",
    "No sign of recovery for {coin} as outflows continue",
)
_FLAT = (
    "{coin} trades flat ahead of {country} data",
    "{coin} price unchanged as traders wait",
    "{coin} moves sideways for the {n}th day",
)
_PAIRS: tuple[tuple[str, Signal, Signal], ...] = (
    ("{coin} overtakes {other} by market value", 1, -1),
    ("{coin} rallies {n}% while {other} slides", 1, -1),
    ("Investors rotate from {other} into {coin}", 1, -1),
    ("{coin} and {other} both climb as sentiment improves", 1, 1),
    ("{coin}, {other} tumble on regulatory fears", -1, -1),
    ("{who} lists {coin} and {other}", 1, 1),
)
_MARKET: tuple[tuple[str, dict[str, Signal]], ...] = (
    ("{country} central bank signals rate cuts, crypto market rallies", {"BTC": 1, "ETH": 1}),
    ("{country} plans crackdown on crypto exchanges", {"BTC": -1, "ETH": -1}),
    ("Inflation in {country} rises to {n}%, investors look for a hedge", {"BTC": 1}),
    ("NFT marketplace volume surges {n}%", {"ETH": 1}),
    ("DeFi protocol drained of ${n} million in exploit", {"ETH": -1}),
    ("Miners sell reserves as hash price falls {n}%", {"BTC": -1}),
    ("Layer 2 rollup launches token with {n} partners", {"ETH": 1}),
    ("Meme coins soar after celebrity post", {"DOGE": 1}),
)
_NOTHING = (
    "Join our AMA today and win {n} prizes! Like, retweet and tag friends",
    "We are hiring {n} engineers, apply on our website",
    "Our community call starts in {n} minutes, see you there!",
    "Follow us for the giveaway of ${n} gift cards",
    "{who} opens new office in {country}",
    "Game studio ships season {n} of its arena battles",
    "Meet our team at the conference in {country}",
    "Thank you for {n} followers, what a week!",
    "{who} names new head of marketing",
)
_WHO = (
    "Harbour Bank",
    "Northwind Exchange",
    "Atlas Pay",
    "Meridian Fund",
    "Quill Capital",
    "Orchard Custody",
    "Tidewater Trust",
)
_COUNTRY = ("Norland", "Brazil", "Japan", "Kenya", "Portugal", "Canada", "Vietnam", "Chile")
_STYLE = ("{text}", "{text}", "{text}", "RT @newsdesk: {text}", "JUST IN: {text}", "{text} - report", "{text}…")


def examples(count: int = COUNT, seed: int = SEED) -> Iterator[dataset.Example]:
    """Yields generated headlines, no two alike.

    Args:
        count: How many.
        seed: Equal seeds give equal headlines.
    """
    chance = random.Random(seed)  # noqa: S311 (no secret)
    seen: set[str] = set()
    while len(seen) < count:
        text, signals = _draw(chance)
        text = chance.choice(_STYLE).format(text=text)
        if text not in seen:
            seen.add(text)
            yield dataset.Example(text, {coin: signals[coin] for coin in DEFAULT_COINS if coin in signals})


def lines(found: Iterator[dataset.Example]) -> Iterator[bytes]:
    """Yields examples as the dataset's JSON lines."""
    for example in found:
        yield msgspec.json.encode(
            dataset.Line(
                instruction=prompt.instruction(DEFAULT_COINS),
                input=example.headline,
                output=prompt.render(example.signals),
                teacher_model_name=TEACHER,
            )
        )


def _draw(chance: random.Random) -> tuple[str, dict[str, Signal]]:
    coin, other = chance.sample(DEFAULT_COINS, 2)
    words = {
        "coin": chance.choice(_NAMES[coin]),
        "other": chance.choice(_NAMES[other]),
        "who": chance.choice(_WHO),
        "country": chance.choice(_COUNTRY),
        "n": str(chance.randint(2, 95)),
    }
    kind = chance.random()
    if kind < 0.32:
        return chance.choice(_UP).format(**words), {coin: 1}
    if kind < 0.56:
        return chance.choice(_DOWN).format(**words), {coin: -1}
    if kind < 0.62:
        return chance.choice(_FLAT).format(**words), {coin: 0}
    if kind < 0.76:
        pattern, first, second = chance.choice(_PAIRS)
        return pattern.format(**words), {coin: first, other: second}
    if kind < 0.86:
        text, signals = chance.choice(_MARKET)
        return text.format(**words), dict(signals)
    return chance.choice(_NOTHING).format(**words), {}


if __name__ == "__main__":
    for line in lines(examples()):
        sys.stdout.write(line.decode() + "\n")
