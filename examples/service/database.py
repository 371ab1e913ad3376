"""The tables, and the session about each request and each run of a handler. Knows no event."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import dawdle


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    order_id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    total: Mapped[int]
    parcel: Mapped[str | None] = mapped_column(default=None)


class Mail(Base):
    """A mail that was sent. Its key makes sure that a handler which runs twice sends one."""

    __tablename__ = "mails"
    key: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]


@dataclass
class Database:
    """What the lifespan yields: it makes sessions, for requests and for handlers."""

    sessions: async_sessionmaker[AsyncSession]


@asynccontextmanager
async def open_database(path: Path) -> AsyncGenerator[Database]:
    """Make the tables, and close all connections at the end."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield Database(async_sessionmaker(engine))
    finally:
        await engine.dispose()


@asynccontextmanager
async def unit_of_work(ctx: dawdle.Context) -> AsyncGenerator[None]:
    """Give a handler a session. Commit if it returns; roll back if it raises: then it runs again."""
    async with ctx.state(Database).sessions.begin() as session:
        ctx.provide(session)
        yield
