"""The tables, and the unit of work about each handler. Knows no event."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
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


@asynccontextmanager
async def open_database(path: Path) -> AsyncGenerator[Database]:
    """Make the tables, and close all connections at the end."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield Database(async_sessionmaker(engine))
    await engine.dispose()


@asynccontextmanager
async def unit_of_work(ctx: dawdle.Context) -> AsyncGenerator[None]:
    """Give a handler a session. Commit if it returns; roll back if it raises or is cancelled.

    A commit that fails is a handler that failed, so it runs again.
    """
    async with ctx.state(Database).sessions.begin() as session:
        ctx.provide(session)
        yield
