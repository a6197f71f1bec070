"""JSON files that another program could have written, or somebody who means harm."""

import json

STRANGE = (
    None, True, 3, -1, 10**30, float("inf"), float("nan"), "", "x", "\ud800", [], [1], ["a"], [None], [[["a"]]], {},
    {"a": 1}, {"content": 3}, {"id": "0", "content": "x"}, {"0": None},
)  # fmt: skip


def mutated(tree, random):
    """A copy of a JSON value with something strange, or nothing, in one place."""
    copy = json.loads(json.dumps(tree))
    parent, key = random.choice(list(places(copy)))
    if isinstance(parent, dict) and random.random() < 0.2:
        del parent[key]
        key = str(random.choice(STRANGE))
    parent[key] = random.choice(STRANGE)
    return copy


def places(tree):
    """Every container in a JSON value with each of its keys or positions."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places(tree[key])
