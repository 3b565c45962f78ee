"""Config: `fastgate config schema` and `fastgate config reference`.

Owns:      nothing; prints what config.shape and config.reference make.
Called by: cli.main.
"""

import typer

__all__ = ["command"]

command = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@command.command()
def schema() -> None:
    """Print the JSON Schema of a configuration file, for editors and CI.

    Example: fastgate config schema > fastgate.schema.json
    """
    from fastgate.config.shape import schema_document

    print(schema_document(), end="")


@command.command()
def reference() -> None:
    """Print the reference page of all settings as Markdown."""
    from fastgate.config.reference import reference_page

    print(reference_page(), end="")
