"""A small sentence encoder and what is learnt on top of it: a reader of headlines that needs no server.

`weights` finds the encoder's files, `sentences` turns headlines into vectors, `head` learns from labelled headlines
what a vector and the lexicon's clues mean for each coin.
"""
