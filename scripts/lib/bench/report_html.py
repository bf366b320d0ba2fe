# SPDX-License-Identifier: Apache-2.0
# Elements as text, escaped by construction: plain strings are text, only what element() made is markup.
#
# The page is HTML that is also well-formed XML, so a test can read it with the standard library.
import functools
import html
import types


class Markup(str):
    """Text that is markup already."""


def escaped(thing):
    if thing is None:
        return ""
    if isinstance(thing, Markup):
        return thing
    if isinstance(thing, (list, tuple, types.GeneratorType)):
        return "".join(escaped(each) for each in thing)
    return html.escape("".join(c for c in str(thing) if c.isprintable() or c == "\n"))


def element(name, /, *inside, **attributes):
    """<name attributes>inside</name>; class_ is class, aria_label is aria-label; attributes that are None are left out."""
    head = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
                   for key, value in attributes.items() if value is not None)
    body = escaped(inside)
    if not body and name in ("meta", "br", "circle", "line", "rect", "path", "col"):
        return Markup(f"<{name}{head}/>")
    return Markup(f"<{name}{head}>{body}</{name}>")


b, div, li, p, small, span, table, tbody, td, th, thead, tr, ul = (functools.partial(element, name) for name in (
    "b", "div", "li", "p", "small", "span", "table", "tbody", "td", "th", "thead", "tr", "ul"))


def raw(text):
    """A file of ours (the style sheet), which must go in as it is."""
    return Markup(text)
