"""Fill the templates of pages."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Fill a template of the folder `templates`. Text is escaped; what must not be is marked ``|safe`` in the template.

    Parameters
    ----------
    template : str
        Name of the file, such as "preview.html".
    values
        What the template needs. A missing one raises an error.
    """
    environment = Environment(
        loader=PackageLoader("gtzan_stream.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_json"] = script_json
    return environment.get_template(template).render(**values)


def script_json(content: Any) -> Markup:
    """Write plain data as JSON that can stand inside a <script> element, whatever text is in it."""
    text = json.dumps(content, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
