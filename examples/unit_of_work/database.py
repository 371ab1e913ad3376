"""The tables, and the unit of work about each handler. Knows no event."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import dawdle


class Base(DeclarativeBase):
    pass


class Parcel(Base):
    """One for each order."""

    __tablename__ = "parcels"
    order_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]


class Notice(Base):
    """One for each parcel."""

    __tablename__ = "notices"
    order_id: Mapped[str] = mapped_column(primary_key=True)


@dataclass
class Database:
    """What the app's lifespan yields: it makes sessions."""

    sessions: async_sessionmaker[AsyncSession]


@dataclass
class Outbox:
    """The events of one run. They are signaled once its transaction is committed."""

    events: list[object] = field(default_factory=list[object])


@asynccontextmanager
async def open_database(path: Path) -> AsyncGenerator[Database]:
    """Make the tables, and close all connections at the end."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield Database(async_sessionmaker(engine, expire_on_commit=False))
    await engine.dispose()


@asynccontextmanager
async def unit_of_work(ctx: dawdle.Context) -> AsyncGenerator[None]:
    """Give a handler a session. Commit if it returns; roll back if it raises or is cancelled.

    A commit that fails is a handler that failed, so it runs again.
    """
    outbox = Outbox()
    async with ctx.state(Database).sessions.begin() as session:
        ctx.provide(session)
        ctx.provide(outbox)
        yield
    # After the commit: an event of a transaction that is rolled back is never signaled. If the process dies here, the
    # event that was handled is still in its queue. Its handler runs again, and signals again.
    await dawdle.signal_many(outbox.events)
