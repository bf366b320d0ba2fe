#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# report.py IN.json OUT.html: the result of scripts/bench as one page to look at. Nothing in it comes from elsewhere: no
# script, no font, no picture but what is drawn here; it can be mailed, and opened in ten years.
import json
import os
import sys

if not __package__:  # run as a program
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    __package__ = __import__("bench").__name__

from . import report_chapters as chapters
from .report_data import Run, row_name
from .report_html import element, raw
from .report_limits import Limits
from .report_words import lead, machine_line, questions, tiles

STYLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "report.css")


def style():
    with open(STYLE, encoding="utf-8") as file:
        return file.read()


def page(results):
    run, limits = Run(results), Limits(results)
    head = element("head", element("meta", charset="utf-8"), element("title", "What the mesh costs"),
                   element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                   element("meta", name="color-scheme", content="light dark"), element("style", raw(style())))
    rows = ", ".join(row_name(row) for row in run.one_core.rows()) or "no rows"
    main = element("main",
                   element("header", element("h1", "What the mesh costs"), lead(run), machine_line(run)),
                   tiles(run),
                   chapters.opening(run, limits),
                   questions(run, limits),
                   chapters.against(run, limits),
                   chapters.absolutes(run),
                   chapters.memory(run),
                   chapters.split(run),
                   chapters.tables(run),
                   chapters.method(run),
                   element("footer", f"Culvert: {rows}. Written by scripts/bench."))
    return "<!DOCTYPE html>\n" + element("html", head, element("body", main), lang="en") + "\n"


def write(results, path):
    """The page of one result, whatever of it there is."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(page(results))


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: report.py IN.json OUT.html")
    with open(sys.argv[1], encoding="utf-8") as file:
        write(json.load(file), sys.argv[2])


if __name__ == "__main__":
    main()
