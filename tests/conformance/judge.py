"""Prints whether Losant's schemas accept bodies.

    judge.py SCHEMAS

Each line of the input is `[SCHEMA, BODY]`. The same line of the output is `true` or `false`.
"""

import json
import pathlib
import sys

import jsonschema

validators = {}
for line in sys.stdin:
    name, body = json.loads(line)
    if name not in validators:
        schema = json.loads((pathlib.Path(sys.argv[1]) / f"{name}.json").read_text())
        validators[name] = jsonschema.Draft7Validator(schema)
    print(json.dumps(validators[name].is_valid(body)))
