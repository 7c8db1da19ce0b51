"""What can be wrong in a folder of Terraform files without asking any provider: arguments that no schema
knows, required ones that are missing, references to what is not there, and what nothing uses.
"""

import re

from hcl2.rules import containers, expressions, for_expressions, functions, literal_rules, strings

from hcl import META_ARGUMENTS, Folder, chain, word


def problems(folder, schema):
    """A sentence for each problem."""
    return [
        *(p for block in folder.blocks if block.kind in ("resource", "data") for p in resource(block, schema)),
        *(p for name, block in folder.modules.items() for p in module(name, block, folder)),
        *references(folder, schema),
    ]


def resource(block, schema):
    address = ".".join(block.labels)
    known = schema[block.kind].get(block.labels[0])
    if known is None:
        return [f"{address}: no such {block.kind}"]
    given = block.arguments.keys() | {b.labels[0] if b.kind == "dynamic" else b.kind for b in block.blocks}
    return [
        *fields(address, block, known["schema"], META_ARGUMENTS, {"lifecycle"}),
        *(f"{address}: {' and '.join(group)} exclude each other" for group in known.get("conflicts", [])
          if group[0] in given and given & set(group[1:])),
        *(f"{address}: one of {', '.join(group)}" for group in known.get("exactly_one", []) if len(given & set(group)) != 1),
        *(f"{address}: at least one of {', '.join(group)}" for group in known.get("at_least_one", []) if not given & set(group)),
    ]


def fields(address, block, known, more_arguments=frozenset(), more_blocks=frozenset()):
    """Arguments and blocks of a block against its schema."""
    found = []
    inner = [b for b in block.blocks if b.kind not in more_blocks]
    names = [b.labels[0] if b.kind == "dynamic" else b.kind for b in inner]
    for name, value in block.arguments.items():
        if name in more_arguments:
            continue
        if not isinstance(known.get(name), str) or known[name].startswith("C "):
            found.append(f"{address}: no argument {name}")
        elif (allowed := re.search(r" in=(\S+)", known[name])) and (plain := literal(value)):
            if plain not in allowed[1].split(","):
                found.append(f"{address}: {name} is not one of {allowed[1]}")
    for name in set(names):
        if not isinstance(known.get(name), list):
            found.append(f"{address}: no block {name}")
        elif "max=1 " in known[name][0] and names.count(name) > 1:
            found.append(f"{address}: block {name} more than once")
    for name, kind in known.items():
        is_required = (kind if isinstance(kind, str) else kind[0]).startswith("R ")
        if is_required and name not in block.arguments and name not in names:
            found.append(f"{address}: {name} is missing")
    for one, name in zip(inner, names, strict=True):
        if isinstance(known.get(name), list):
            for content in one.within("content") if one.kind == "dynamic" else [one]:
                found += fields(f"{address}.{name}", content, known[name][1])
    return found


def literal(node):
    """The text of a plain string; None for any other expression."""
    node = node.expression if isinstance(node, expressions.ExprTermRule) else node
    if isinstance(node, strings.StringRule) and not any(isinstance(p.content, strings.InterpolationRule) for p in node.string_parts):
        return word(node)
    return None


def module(name, block, folder):
    """The inputs that an example passes."""
    inputs = called(folder, block).variables
    given = block.arguments.keys() - {"source", "version", "providers"}
    required = {name for name, variable in inputs.items() if "default" not in variable.arguments}
    return [
        *(f"module.{name}: no input {i}" for i in given - inputs.keys()),
        *(f"module.{name}: input {i} is missing" for i in required - given),
    ]


def called(folder, block):
    parts = block.arguments["source"].expression.string_parts
    return Folder(folder.path / "".join(str(part.content.value) for part in parts))


def references(folder, schema):
    found, used = [], set()
    for block in folder.blocks:
        name = ".".join([block.kind, *block.labels])
        for path in of_block(block, frozenset()):
            # a variable that only its own validation mentions is not used
            if name != ".".join(["variable", *path[1:2]]):
                used.add(".".join(path[:2]))
            if not resolves(path, folder, schema):
                found.append(f"{name}: {'.'.join(path)} is not there")
    declared = {f"var.{v}" for v in folder.variables} | {f"local.{v}" for v in folder.locals}
    return [*found, *(f"{name} is not used" for name in sorted(declared - used))]


def resolves(path, folder, schema):
    kind, *names = path
    if not names:
        return False
    if kind == "var":
        return names[0] in folder.variables
    if kind == "local":
        return names[0] in folder.locals
    if kind == "module":
        return names[0] in folder.modules and names[1] in called(folder, folder.modules[names[0]]).outputs
    if kind in ("each", "self", "path"):
        return True
    address, kinds = (path[:3], "data") if kind == "data" else (path[:2], "resource")
    if ".".join(address) not in (folder.data if kinds == "data" else folder.resources):
        return False
    attribute = path[len(address) : len(address) + 1]
    return not attribute or attribute[0] in schema[kinds].get(address[-2], {"schema": ()})["schema"]


def of_block(block, bound):
    """All references in a block, as lists of names."""
    skipped = {"variable": {"type"}, "resource": {"provider"}, "data": {"provider"}, "module": {"providers"}}
    for name, node in block.arguments.items():
        if name not in skipped.get(block.kind, ()) and block.kind != "required_providers":
            yield from of(node, bound)
    for inner in block.blocks:
        names = {inner.labels[0]} if inner.kind == "dynamic" else set()
        yield from of_block(inner, bound | names)


def of(node, bound):
    """All references in an expression; `bound` are names that the expression itself defines."""
    path, brackets = chain(node) or (None, None)
    if path:
        if path[0] not in bound:
            yield path
        for inside in brackets:
            yield from of(inside, bound)
    elif isinstance(node, (for_expressions.ForTupleExprRule, for_expressions.ForObjectExprRule)):
        intro = node.for_intro
        yield from of(intro.iterable, bound)
        names = {word(i) for i in (intro.first_iterator, intro.second_iterator) if i}
        for child in node.children:
            if child is not intro:
                yield from of(child, bound | names)
    elif isinstance(node, functions.FunctionCallRule):
        yield from of(node.arguments, bound)
    elif isinstance(node, containers.ObjectElemRule):
        if not isinstance(node.key.value, literal_rules.IdentifierRule):
            yield from of(node.key.value, bound)
        yield from of(node.expression, bound)
    else:
        for child in getattr(node, "children", ()):
            yield from of(child, bound)
