"""`llm-refresh migrate`: the schema, what is adopted from the system before this one, and the first models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import sqlalchemy as sa

from shared.catalogue import seed
from shared.catalogue.adoption import Adoption, describe_model
from worker.commands.context import open_runtime, quiet_logs, say
from worker.commands.entry import fail, settings_or_exit
from worker.runtime import adopter_of

if TYPE_CHECKING:
    from migrations.run import Upgrade


@click.command()
@click.option("--step", type=click.Choice(["schema", "seed"]), help="Only this step; both without.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done; nothing is written.")
def migrate(step: str | None, dry_run: bool) -> None:
    """Bring the database to this version's schema, and seed an empty catalogue.

    Where it finds the hand-made tables of the system that this one replaces, it adopts them.
    """
    import migrations.run as migrations  # noqa: PLC0415 - slow to load

    settings = settings_or_exit()
    quiet_logs(settings)
    if step != "seed":
        owner_url = (settings.migrate_database_url or settings.database_url).get_secret_value()
        login = sa.make_url(settings.database_url.get_secret_value()).username
        try:
            if dry_run:
                _print_upgrade(migrations.preview(owner_url, adopter_of(settings)), dry_run=True)
                return
            upgrade = migrations.upgrade(owner_url, adopter=adopter_of(settings))
            migrations.grant_roles(owner_url, login)
        except sa.exc.DBAPIError as error:
            fail(f"migration failed: {migrations.reason(error)}")
        except migrations.REFUSALS as error:
            fail(f"migration refused, nothing was changed: {migrations.why_refused(error)}")
        _print_upgrade(upgrade, dry_run=False)
    if step != "schema" and not dry_run:
        with open_runtime() as runtime:
            added = seed.seed(runtime.database, runtime.describer, runtime.policy)
            click.echo(f"seed: {added} models added" if added else "seed: nothing to add, the catalogue is not empty")


def _print_upgrade(upgrade: Upgrade, *, dry_run: bool) -> None:
    from migrations.schema import describe_schema, head  # noqa: PLC0415 - slow to load

    if dry_run or upgrade.current.fit == "newer":
        click.echo(f"schema: {describe_schema(upgrade.current)}")
        for revision, title in upgrade.pending:
            click.echo(f"  would run {revision}: {title}")
    else:
        click.echo(f"schema: at revision {head()}")
    if upgrade.adoption is not None:
        _print_adoption(upgrade.adoption, "would be adopted" if dry_run else "adopted")
    if dry_run:
        click.echo("dry run: nothing was changed")


def _print_adoption(adoption: Adoption, verb: str) -> None:
    requests = sum(used.requests for used in adoption.usage)
    click.echo(
        f"old system: {len(adoption.models)} models and {requests} counted requests {verb};"
        " the old tables are kept as …_before_llm_refresh"
    )
    for model in adoption.models:
        say(f"  {describe_model(model)}")
    for used in adoption.usage:
        say(f"  {used.model_key} was asked {used.requests} times until {used.day}")
    for note in adoption.notes:
        say(f"  note: {note}")
