"""How the docs are built: MyST for the pages, autodoc for the reference, furo for the looks."""

import sys
from types import FunctionType
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

import dawdle

project = "dawdle"
author = "the dawdle developers"
project_copyright = "2026, the dawdle developers"
release = version = dawdle.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build", "bench"]  # bench: tables that a page includes
html_theme = "furo"
html_title = "dawdle"
html_static_path = ["_static"]
html_css_files = ["dawdle.css"]
html_copy_source = False
html_show_sourcelink = False

copybutton_selector = "div.highlight-python pre, div.highlight-sh pre, div.highlight-json pre"
copybutton_exclude = ".linenos, .gp"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "code"  # a name in single backticks, in a docstring as in these pages
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

nitpicky = True
nitpick_ignore_regex = [
    # The standard library has its own docs, and no build should need the network.
    (r"py:.*", rf"({'|'.join(sorted(sys.stdlib_module_names))})\..*"),
    (r"py:.*", r"(msgspec|fastapi|starlette|aiohttp)\..*"),
    (r"py:.*", r"Request|StreamResponse"),  # of aiohttp, as it writes them
    # What `SQLite.dead_letters` and `.delayed` return has no public name: it is `SQLite` without its options.
    (r"py:class", r"dawdle\.backends\.sqlite\._queue\.Queue"),
    # Of OpenTelemetry and of prometheus_client, which have docs of their own.
    (r"py:class", r"TracerProvider|MeterProvider|CollectorRegistry"),
    # What a test's app and its queue on SQS return: no name of theirs is needed.
    (r"py:class", r"dawdle\.testing\.(in_thread\.InThread|sqs\._server\.SQSServer|sqs\._view\.QueueView)"),
    # Type variables, and aliases that are written out where they are used.
    (r"py:.*", r"(.*\.)?[A-Z](_co)?"),
]

HOMES = {name: "dawdle" for name in vars(dawdle) if not name.startswith("_")}
"""Public names, and the module that a reader imports them from."""


def find_public_name(
    app: Sphinx, environment: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Resolve what a signature says, `dawdle._rules.retry.Retry`, to what a reader writes, `dawdle.Retry`."""
    target = str(node.get("reftarget", ""))
    name = target.rpartition(".")[2]
    if not target.startswith("dawdle.") or name not in HOMES:
        return None
    domain: Any = environment.domains["py"]
    found: nodes.Element | None = domain.resolve_xref(
        environment, node["refdoc"], app.builder, "obj", f"{HOMES[name]}.{name}", node, content
    )
    return found


def leave_out_signature(
    _app: Sphinx, what: str, name: str, found: object, _options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Show no arguments for what a reader does not make: a Context, and the protocols."""
    not_made_by_a_reader = name == "dawdle.Context" or (what == "class" and getattr(found, "_is_protocol", False))
    return ("", None) if not_made_by_a_reader else (signature, returns)


def name_source_modules() -> None:
    """Let public names, which say `dawdle`, say where their source is: there autodoc reads the notes of fields."""
    for module in [each for name, each in sys.modules.items() if name.startswith("dawdle.")]:
        names = getattr(module, "__all__", ())
        for value in vars(module).values():
            if isinstance(value, FunctionType):
                value.__module__ = value.__globals__["__name__"]
            elif isinstance(value, type) and value.__module__ == "dawdle" and value.__name__ in names:
                value.__module__ = module.__name__
    dawdle.Registry.on_event.__module__ = dawdle.Registry.__module__


def forget_overloads() -> None:
    """Show one signature for `on_event`, the page's own: its eight overloads say nothing more to a reader."""
    analyzer = ModuleAnalyzer.for_module("dawdle._handlers.registry")
    analyzer.analyze()
    analyzer.overloads.pop("Registry.on_event", None)


def setup(app: Sphinx) -> None:
    name_source_modules()
    forget_overloads()
    app.connect("missing-reference", find_public_name)
    app.connect("autodoc-process-signature", leave_out_signature)
