"""The first tables: predictions, actuals, erasures, leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "predictions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("customer_id", sa.String(128), nullable=False),
        sa.Column("predicted_at", sa.Double, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("churn", sa.Boolean, nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("features", sa.Text, nullable=False),
    )
    op.create_index("predictions_predicted_at", "predictions", ["predicted_at"])
    op.create_index("predictions_customer_id", "predictions", ["customer_id"])
    op.create_table(
        "actuals",
        sa.Column("prediction_id", sa.String(32), primary_key=True),
        sa.Column("churned", sa.Boolean, nullable=False),
        sa.Column("observed_at", sa.Double),
        sa.Column("received_at", sa.Double, nullable=False),
    )
    op.create_index("actuals_received_at", "actuals", ["received_at"])
    op.create_table(
        "erasures",
        sa.Column("customer_hash", sa.String(64), primary_key=True),
        sa.Column("erased_at", sa.Double, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables and all that is in them."""
    for name in ("leases", "erasures", "actuals", "predictions"):
        op.drop_table(name)
