"""When two headlines are the same.

Sources repeat each other with other quotes, spaces and prefixes. Both the de-duplication of the news and the split of
a dataset into training and held-out parts rest on this one notion.
"""

from __future__ import annotations

import re
import unicodedata

_NOT_TEXT = re.compile(r"https?://\S+|^\s*rt @\w+:")
_NOT_WORD = re.compile(r"[^\w]+|_")
_NUMBER = re.compile(r"\d+")


def normalise(title: str) -> str:
    """Returns the words of a headline in lower case, without links, punctuation, accents of form and spacing.

    Args:
        title: Any text. One without any word (an emoji, say) stands for itself.
    """
    text = unicodedata.normalize("NFKC", title).casefold()
    return _NOT_WORD.sub(" ", _NOT_TEXT.sub(" ", text)).strip() or text.strip()


def template(title: str) -> str:
    """Returns the normalised headline with its numbers masked: robots post the same sentence every day."""
    return _NUMBER.sub("0", normalise(title))
