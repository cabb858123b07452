"""How forecasts have done: sums over scored predictions, and the shares and skills that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from pricecast_core.messages import Prediction


@dataclass(slots=True)
class Score:
    """Sums over the scored predictions of one pair and horizon."""

    count: int = 0
    error: float = 0.0
    naive_error: float = 0.0
    inside: int = 0
    pinball: float = 0.0
    naive_pinball: float = 0.0

    def add(self, prediction: Prediction) -> None:
        """Adds a scored prediction."""
        self.count += 1
        self.error += prediction.absolute_error or 0.0
        self.naive_error += prediction.naive_absolute_error or 0.0
        self.inside += bool(prediction.inside_interval)
        if prediction.pinball_loss is not None and prediction.naive_pinball_loss is not None:
            self.pinball += prediction.pinball_loss
            self.naive_pinball += prediction.naive_pinball_loss

    @property
    def mae(self) -> float | None:
        """Mean absolute error, in quote coins."""
        return self.error / self.count if self.count else None

    @property
    def naive_mae(self) -> float | None:
        """The same of the last price."""
        return self.naive_error / self.count if self.count else None

    @property
    def coverage(self) -> float | None:
        """Share of actual prices inside the 80% interval."""
        return self.inside / self.count if self.count else None

    @property
    def distribution_skill(self) -> float | None:
        """1 - pinball loss / naive pinball loss."""
        return 1 - self.pinball / self.naive_pinball if self.naive_pinball else None

    @property
    def point_skill(self) -> float | None:
        """1 - MAE / MAE of the last price."""
        return 1 - self.error / self.naive_error if self.naive_error else None
