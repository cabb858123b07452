"""The operator's metrics stand beside those of the services, which its libraries bring along."""

import pricecast_core.metrics
import pricecast_operator.metrics


def test_names_do_not_clash() -> None:
    assert pricecast_core.metrics.FINETUNE_STEP is not pricecast_operator.metrics.FINETUNE_STEP
