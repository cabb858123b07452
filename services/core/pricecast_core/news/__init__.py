"""What the news service, the news-signal service and the fine-tuning job must agree on.

The prompt and its answer (`prompt`), the baseline that reads without a model (`lexicon`), labelled headlines
(`dataset`), how readers are measured (`evaluation`) and when two headlines are the same (`titles`). The training
prompt and the serving prompt are one function here, because a model that is asked in other words than it was trained
with loses a third of its F1.
"""
