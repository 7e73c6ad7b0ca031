#!/usr/bin/env python3
"""Makes summary.txt: which top-level elements of each R4 resource are in a summary, and which are mandatory.

Source: StructureDefinition-*.json of the package hl7.fhir.r4.examples 4.0.1 (CC0). Run with its folder:
    python3 summary.py .../hl7.fhir.r4.examples > summary.txt
A line a type: its name, then elements; `*` after a name: mandatory; `-` before it: mandatory, not in the summary.
Elements every resource has (id, meta, implicitRules, text ...) are not listed: the program treats them by itself.
"""

import json
import pathlib
import sys

COMMON = {"id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension"}


def elements(definition):
    name = definition["type"]
    for element in definition["snapshot"]["element"]:
        path = element["path"].split(".")
        if len(path) != 2 or path[0] != name or path[1] in COMMON:
            continue
        mandatory, summary = element["min"] > 0, element.get("isSummary", False)
        if summary or mandatory:
            yield ("" if summary else "-") + path[1] + ("*" if mandatory else "")


def main():
    lines = []
    for file in pathlib.Path(sys.argv[1]).glob("StructureDefinition-*.json"):
        definition = json.loads(file.read_text())
        if (
            definition.get("kind") == "resource"
            and definition.get("derivation") == "specialization"
            and not definition.get("abstract")
            and definition.get("fhirVersion") == "4.0.1"
        ):
            lines.append(" ".join([definition["type"], *elements(definition)]))
    print("\n".join(sorted(set(lines))))


main()
