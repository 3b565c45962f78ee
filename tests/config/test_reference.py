"""Generated pages are in step with the models, and the models are documented."""

import json
from pathlib import Path

from fastgate.config.reference import reference_page
from fastgate.config.shape import is_secret, keys_at, schema, schema_document, takes

DOCS = Path(__file__).parents[2] / "docs"


def test_schema_in_docs_is_what_the_models_say():
    """`fastgate config schema > docs/config.schema.json` brings it back in step."""
    assert (DOCS / "config.schema.json").read_text("utf-8") == schema_document()


def test_page_in_docs_is_what_the_models_say():
    """`fastgate config reference > docs/configuration.md` brings it back in step."""
    assert (DOCS / "configuration.md").read_text("utf-8") == reference_page()


def test_every_setting_says_what_it_is_for():
    """A key without a description is a key nobody can use."""
    sections = [schema(), *schema()["$defs"].values()]
    for section in sections:
        for key, value in section.get("properties", {}).items():
            assert value.get("description"), key


def test_schema_holds_no_null_and_no_default_secret():
    """A file has no null: what is unset is a line that is not there."""
    text = json.dumps(schema())
    assert '"null"' not in text
    assert '"default": null' not in text


def test_shape_answers_through_names_lists_and_choices():
    """Questions about a path see through maps, lists, references and alternatives."""
    assert "leeway" in keys_at(("issuers", "any"))
    assert "scope" in keys_at(("routes", 3, "token"))
    assert takes(("regions", "names"), "array")
    assert not takes(("admin_token",), "array")
    assert is_secret(("issuers", "x", "introspection", "client_secret"))
    assert not is_secret(("issuers", "x", "introspection", "client_id"))
    assert keys_at(("no", "such", "path")) == ()
