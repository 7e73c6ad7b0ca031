#!/usr/bin/env python3
"""Writes search-parameters.tsv and compartments.tsv from HL7's own definitions of FHIR R4.

    npm pack hl7.fhir.r4.examples@4.0.1 && tar xf hl7.fhir.r4.examples-4.0.1.tgz
    python3 generate.py package

Every expression is resolved against the StructureDefinitions, so that a search needs to know nothing of
FHIRPath: what is left are JSON paths, each with the datatype that stands there.
"""

import glob
import json
import os
import re
import sys

package = sys.argv[1]
here = os.path.dirname(os.path.abspath(__file__))


def load(pattern):
    for path in sorted(glob.glob(os.path.join(package, pattern))):
        with open(path, encoding="utf-8") as f:
            yield json.load(f)


structures = {}
for s in load("StructureDefinition-*.json"):
    if s["kind"] != "logical" and (s.get("derivation") == "specialization" or s["name"] in ("Element", "Resource")):
        structures[s["type"]] = s
elements = {}
for s in structures.values():
    for e in s["snapshot"]["element"]:
        elements[e["path"]] = e
value_sets = {v["url"]: v for v in load("ValueSet-*.json")}
resources = sorted(n for n, s in structures.items() if s["kind"] == "resource" and not s["abstract"])


def kind_of(t):
    return t["code"].rsplit("/", 1)[-1].replace("System.String", "string")


def system_of(element):
    """The one code system behind a required binding of a code."""
    binding = element.get("binding", {})
    value_set = value_sets.get(binding.get("valueSet", "").split("|")[0])
    if binding.get("strength") != "required" or value_set is None:
        return ""
    systems = {i.get("system") for i in value_set.get("compose", {}).get("include", [])}
    return systems.pop() if len(systems) == 1 and None not in systems else ""


def step(path, json_path, name):
    """Children called `name` of the element at `path`: [(element path, JSON path, type)]."""
    element = elements.get(path + "." + name)
    if element is not None:
        if "contentReference" in element:
            return [(element["contentReference"].lstrip("#"), json_path + [name], "BackboneElement")]
        types = [kind_of(t) for t in element.get("type", [])]
        if types in (["BackboneElement"], ["Element"]):
            return [(element["path"], json_path + [name], types[0])]
        return [(element["path"], json_path + [name], t) for t in types]
    choice = elements.get(path + "." + name + "[x]")
    if choice is not None:
        return [
            (choice["path"], json_path + [name + kind_of(t)[0].upper() + kind_of(t)[1:]], kind_of(t))
            for t in choice["type"]
        ]
    return []


def walk(found, name):
    out = []
    for path, json_path, kind in found:
        inside = path if kind in ("BackboneElement", "Element") or path == kind else kind
        if inside in structures or inside in elements:
            out += step(inside, json_path, name)
    return out


def select(expression, start):
    """Resolves one alternative of an expression: [(JSON path, type, filter)]."""
    text = expression.strip()
    while text.startswith("(") and text.endswith(")") and balanced(text[1:-1]):
        text = text[1:-1].strip()
    cast = re.fullmatch(r"(.+) as (\w+)", text)
    if cast:
        return [s for s in select(cast[1], start) if s[1].lower() == cast[2].lower()]
    inner = re.fullmatch(r"\((.+) as (\w+)\)\.(.+)", text)
    if inner:
        text = f"{inner[1]}.as({inner[2]}).{inner[3]}"
    text = text.removeprefix("%resource.")
    found, filters = start, ""
    for part in re.findall(r"(?:[^.()]|\([^()]*(?:\([^()]*\)[^()]*)*\))+", text):
        where = re.fullmatch(r"where\((.+)\)", part)
        narrowed = re.fullmatch(r"as\((\w+)\)", part)
        if where and (m := re.fullmatch(r"resolve\(\) is (\w+)", where[1])):
            filters += "?is=" + m[1]
        elif where and (m := re.fullmatch(r"(\w+)='([\w-]+)'", where[1])):
            # The test is on the element that the path has reached.
            found = [(p, j[:-1] + [f"{j[-1]}[{m[1]}={m[2]}]"], k) for p, j, k in found]
        elif narrowed:
            found = [f for f in found if f[2].lower() == narrowed[1].lower()]
        elif part == "exists()":
            filters += "?exists"
        else:
            index = re.fullmatch(r"(\w+)\[0\]", part)
            found = walk(found, index[1] if index else part)
            if index:
                found = [(p, j[:-1] + [j[-1] + "[0]"], k) for p, j, k in found]
    out = []
    for path, json_path, kind in found:
        note = filters
        if kind == "code" and system_of(elements[path]):
            note += "?system=" + system_of(elements[path])
        out.append((".".join(json_path), kind, note))
    return out


def balanced(text):
    depth = 0
    for c in text:
        depth += (c == "(") - (c == ")")
        if depth < 0:
            return False
    return depth == 0


def alternatives(expression):
    out, depth, current = [], 0, ""
    for c in expression:
        depth += (c == "(") - (c == ")")
        if c == "|" and depth == 0:
            out.append(current)
            current = ""
        else:
            current += c
    return out + [current]


def root_of(alternative):
    return re.match(r"[\s(]*(\w+)", alternative)[1]


def selectors(expression, base):
    out = []
    for a in alternatives(expression):
        if root_of(a) not in structures:
            a = base + "." + a.strip()  # InsurancePlan.name forgets its own
        if root_of(a) not in (base, "Resource", "DomainResource"):
            continue
        if a.strip() == "Patient.deceased.exists() and Patient.deceased != false":
            out += [("deceasedBoolean", "boolean", "?deceased"), ("deceasedDateTime", "dateTime", "?deceased")]
            continue
        root = root_of(a)
        a = re.sub(r"\b" + root + r"\.", "", a, count=1)
        out += select(a, [(root, [], root)])
    unique = []
    for s in out:
        if s not in unique:
            unique.append(s)
    return unique


by_url, rows, unresolved = {}, [], []
parameters = [p for p in load("SearchParameter-*.json")]
by_url = {p["url"]: p for p in parameters}


def core(p):
    """The specification's own: no examples, and none that needs an extension."""
    return "-extensions-" not in p["url"] and "-genetic-" not in p["url"] and "/example" not in p["url"]


def render(found):
    return " ".join(f"{path}:{kind}{note}" for path, kind, note in found)


for p in parameters:
    if not core(p) or p["code"] in ("_text", "_content", "_query", "_list", "_filter"):
        continue
    for base in p["base"]:
        if "expression" not in p or p["type"] == "special":
            rows.append((base, p["code"], p["type"], p["url"], "", "", ""))
            continue
        components, paths = [], []
        if p["type"] == "composite":
            for a in alternatives(p["expression"]):
                if root_of(a) != base:
                    continue
                at = a.strip().removeprefix(base).lstrip(".")
                start = [(base, [], base)]
                for name in filter(None, at.split(".")):
                    start = walk(start, name)
                paths.append(at or "$this")
                if components:
                    continue  # what stands inside is the same everywhere
                inside = [(path, [], kind) for path, _, kind in start]
                for c in p["component"]:
                    found = []
                    for x in alternatives(c["expression"]):
                        found += select(x.replace("as(DateTime)", "as(dateTime)"), [(base, [], base)] if "%resource" in x else inside)
                        if "%resource" in x:
                            found = [("/" + path, kind, note) for path, kind, note in found]
                    if not found:
                        unresolved.append((base, p["code"], c["expression"]))
                    components.append(by_url[c["definition"]]["type"] + "=" + render(found))
            rows.append((base, p["code"], "composite", p["url"], " ".join(paths), "", ";".join(components)))
            continue
        found = selectors(p["expression"], base)
        if not found:
            unresolved.append((base, p["code"], p["expression"]))
            continue
        targets = " ".join(sorted(p.get("target", [])))
        if len(p.get("target", [])) > 100:
            targets = "*"
        rows.append((base, p["code"], p["type"], p["url"], render(found), targets, ""))

header = "# FHIR R4 (4.0.1) by HL7 International, CC0-1.0; from npm hl7.fhir.r4.examples 4.0.1 by generate.py\n"
prefix = "http://hl7.org/fhir/SearchParameter/"
with open(os.path.join(here, "search-parameters.tsv"), "w", encoding="utf-8") as f:
    f.write(header + "# base\tcode\ttype\tid\tpaths\ttargets\tcomponents\n")
    for row in sorted(rows):
        f.write("\t".join(row).replace(prefix, "") + "\n")
with open(os.path.join(here, "compartments.tsv"), "w", encoding="utf-8") as f:
    f.write(header + "# compartment\ttype\tparameters\n")
    for c in load("CompartmentDefinition-*.json"):
        if not c["url"].startswith("http://hl7.org/fhir/CompartmentDefinition/"):
            continue
        for r in c["resource"]:
            if r.get("param"):
                f.write("\t".join((c["code"], r["code"], " ".join(r["param"]))) + "\n")
with open(os.path.join(here, "types.tsv"), "w", encoding="utf-8") as f:
    f.write(header + "# resource types\n" + "\n".join(resources) + "\n")
for u in unresolved:
    print("not resolved:", *u)
print(len(rows), "parameters")
