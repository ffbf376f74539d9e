"""Lets one replica of several do what all of them could."""

from __future__ import annotations

from sqlalchemy import Engine, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from simulator.churn.feedback.tables import LEASES


def acquire(engine: Engine, name: str, holder: str, now: float, seconds: float) -> bool:
    """Take or renew a lease and return whether it is held.

    Parameters
    ----------
    engine : Engine
        The database all replicas share.
    name, holder : str
        What is leased, and to whom.
    now, seconds : float
        Unix seconds, and how long it holds; clocks of the replicas must agree to a fraction of it.
    """
    with engine.begin() as connection:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(LEASES).values(
            name=name, holder=holder, expires_at=now + seconds
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[LEASES.c.name],
                set_={"holder": holder, "expires_at": now + seconds},
                where=or_(LEASES.c.holder == holder, LEASES.c.expires_at < now),
            )
        )
        found = connection.execute(select(LEASES.c.holder).where(LEASES.c.name == name)).scalar()
    return bool(found == holder)


def release(engine: Engine, name: str, holder: str) -> None:
    """Give a lease up, so that another replica need not wait for its end."""
    with engine.begin() as connection:
        connection.execute(LEASES.delete().where(LEASES.c.name == name, LEASES.c.holder == holder))
