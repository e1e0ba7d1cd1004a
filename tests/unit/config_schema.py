"""The schema accepts the examples and refuses what the loader refuses; skipped (77) without jsonschema.

usage: config_schema.py PROGRAM_THAT_PRINTS_THE_SCHEMA EXAMPLES
"""
import json
import pathlib
import re
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    print("skipped: python3-jsonschema is not installed")
    sys.exit(77)


def plain(text):
    """Without comments and trailing commas; strings are left alone."""
    token = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.S)
    text = token.sub(lambda m: m.group() if m.group().startswith('"') else " ", text)
    return re.sub(r'("(?:\\.|[^"\\])*")|,(\s*[}\]])', lambda m: m.group(1) or m.group(2), text)


def main():
    schema = json.loads(subprocess.run([sys.argv[1]], check=True, capture_output=True, text=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for file in sorted(pathlib.Path(sys.argv[2]).rglob("*.json")):
        errors = list(validator.iter_errors(json.loads(plain(file.read_text()))))
        assert not errors, f"{file}: {errors[0].message}"

    def pool(**members):
        return {"pools": {"web": {"command": "/bin/true", **members}}}

    good = [{}, pool(), pool(workers="auto"), pool(stop={"timeout": "infinity"}), pool(stop={"timeout": 1.5}),
            pool(env={"A": 1, "x-a": 2}), pool(rlimits={"nofile": {"soft": 1, "hard": "infinity"}}),
            {"$schema": "x", "x-y": 1, "pools": {"x-z": 7}}, {"limits": {"clients": 9}}]
    bad = [pool(workers=-1), pool(workers="4"), pool(max_task=1), pool(stop={"timeout": "10x"}),
           pool(umask=22), pool(restart="no"), pool(env={"A B": "x"}), pool(success_codes=[256]),
           {"pools": {"web": {}}}, {"pools": {"a/b": {"command": "x"}}}, {"pool": {}}, []]
    for document in good:
        assert validator.is_valid(document), document
    for document in bad:
        assert not validator.is_valid(document), document


main()
