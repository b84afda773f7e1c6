"""`hostedagent migrate`: creates and upgrades the tables of the PostgreSQL stores."""

from __future__ import annotations

import asyncio

import click

from hostedagent.cli.group import CommandError, CommandLineError
from hostedagent.errors import HostError
from hostedagent.platform import DSN_VARIABLE


@click.command()
@click.option("--dsn", envvar=DSN_VARIABLE, help=f"The database itself, not a pooler.  [default: ${DSN_VARIABLE}]")
@click.option("--schema", default="hostedagent", show_default=True, help="The schema of the tables.")
@click.option("--entra", is_flag=True, help="Sign in with Microsoft Entra ID instead of a password.")
def command(dsn: str | None, schema: str, entra: bool) -> int:
    """Create and upgrade the tables of postgres_stores().

    Run it before replicas of a new version start; those of the version before keep working. Nothing happens when the
    tables are up to date.
    """
    if not dsn:
        says = f"Name the database: --dsn postgresql://user@host:5432/database, or set {DSN_VARIABLE}."
        raise CommandLineError(says)
    try:
        applied = asyncio.run(_migrate(dsn, schema, entra=entra))
    except HostError as error:
        raise CommandError(str(error)) from error
    for migration in applied:
        click.echo(f"Applied {migration}.")
    if not applied:
        click.echo(f"The tables in the schema {schema} are up to date.")
    return 0


async def _migrate(dsn: str, schema: str, *, entra: bool) -> list[str]:
    """Apply what is missing."""
    from hostedagent.stores.factory import migrate_postgres

    if not entra:
        return await migrate_postgres(dsn, schema=schema)
    from azure.identity.aio import DefaultAzureCredential

    async with DefaultAzureCredential() as credential:
        return await migrate_postgres(dsn, schema=schema, credential=credential)
