"""`fastgate config schema` and `config reference`."""

import json

from typer.testing import CliRunner

from fastgate.cli.main import build
from fastgate.config.reference import reference_page
from fastgate.config.shape import schema_document


def test_config_schema_prints_the_schema():
    """What is printed is the schema that docs/ holds."""
    done = CliRunner().invoke(build("config"), ["config", "schema"])
    assert done.exit_code == 0
    assert done.output == schema_document()
    assert json.loads(done.output)["required"] == ["region", "regions"]


def test_config_reference_prints_the_page():
    """What is printed is the page that docs/ holds."""
    done = CliRunner().invoke(build("config"), ["config", "reference"])
    assert done.exit_code == 0
    assert done.output == reference_page()


def test_config_alone_shows_its_verbs():
    """A verb of verbs says which there are; asking for none is a usage error."""
    done = CliRunner().invoke(build("config"), ["config"])
    assert done.exit_code == 2
    assert "schema" in done.output
