"""Reads a folder of Terraform files with python-hcl2, and evaluates the part of the language that the module
uses: enough to say what `terraform plan` would create for given inputs. What it does not know it refuses.
"""

import functools
import hashlib
import json
import operator
import pathlib
import re

import hcl2
from hcl2.rules import base, expressions, indexing, literal_rules, strings

META_ARGUMENTS = {"count", "for_each", "provider", "depends_on"}


class Block:
    """A block: type, labels, arguments by name (syntax trees), blocks within."""

    def __init__(self, kind, labels, body):
        self.kind, self.labels, self.arguments, self.blocks = kind, labels, {}, []
        for child in body.children:
            if isinstance(child, base.AttributeRule):
                name = word(child.identifier)
                assert name not in self.arguments, f"{kind} {labels}: {name} occurs twice"
                self.arguments[name] = child.expression
            elif isinstance(child, base.BlockRule):
                self.blocks.append(Block(*(head(child)), child.body))

    def within(self, kind):
        return [block for block in self.blocks if block.kind == kind]


def word(node):
    """The text of an identifier or of a plain string."""
    if isinstance(node, strings.StringRule):
        return "".join(str(part.content.value) for part in node.string_parts)
    return str(node.token.value)


def head(block):
    kind, *labels = [word(label) for label in block.labels]
    return kind, labels


@functools.cache
def read(text):
    """The blocks of a file."""
    return Block("file", [], hcl2.parses(text).body).blocks


class Folder:
    """All blocks of a module, by their address."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.blocks = [block for file in sorted(self.path.glob("*.tf")) for block in read(file.read_text())]
        assert self.blocks, f"{path} holds no Terraform files"
        self.variables = {b.labels[0]: b for b in self.blocks if b.kind == "variable"}
        self.outputs = {b.labels[0]: b for b in self.blocks if b.kind == "output"}
        self.modules = {b.labels[0]: b for b in self.blocks if b.kind == "module"}
        self.resources = {".".join(b.labels): b for b in self.blocks if b.kind == "resource"}
        self.data = {".".join(["data", *b.labels]): b for b in self.blocks if b.kind == "data"}
        self.locals = {}
        for block in self.blocks:
            if block.kind == "locals":
                assert not self.locals.keys() & block.arguments.keys()
                self.locals.update(block.arguments)


class Unset:
    """An attribute that the provider sets: `<address.name>` wherever it is used in a text."""

    def __init__(self, address):
        self.address = address

    def __repr__(self):
        return f"<{self.address}>"


class Instance(dict):
    """A resource as planned: its arguments; what is not there is null, or set by the provider."""

    def __init__(self, address, schema, values):
        super().__init__(values)
        self.address, self.schema = address, schema

    def __missing__(self, name):
        kind = self.schema[name]
        return Unset(f"{self.address}.{name}") if kind[:2] in ("C ", "OC") else None


class Plan:
    """What the module makes of its inputs. `known` gives attributes that are set by the provider."""

    def __init__(self, folder, schema, inputs, known=None):
        self.folder, self.schema, self.known = folder, schema, known or {}
        self.cache = {}
        self.inputs = {}
        unknown = inputs.keys() - folder.variables.keys()
        assert not unknown, f"no such inputs: {sorted(unknown)}"
        for name, block in folder.variables.items():
            value = inputs.get(name)
            if name not in inputs:
                assert "default" in block.arguments, f"input {name} is missing"
                value = self.value(block.arguments["default"], {})
            self.inputs[name] = convert(block.arguments["type"], value)

    def refusals(self):
        """The messages of all validations that do not hold; if all do, of the postconditions."""
        found = []
        for block in self.folder.variables.values():
            for validation in block.within("validation"):
                if not self.value(validation.arguments["condition"], {}):
                    found.append(self.value(validation.arguments["error_message"], {}))
        if found:
            return found
        for address, block in self.folder.data.items():
            for lifecycle in block.within("lifecycle"):
                for check in lifecycle.within("postcondition"):
                    scope = {"self": self.planned(address)}
                    if not self.value(check.arguments["condition"], scope):
                        found.append(self.value(check.arguments["error_message"], scope))
        return found

    def everything(self):
        """All instances: address, arguments."""
        found = {}
        for address in self.folder.resources:
            planned = self.planned(address)
            if isinstance(planned, Instance):
                planned = {None: planned}
            elif isinstance(planned, list):
                planned = dict(enumerate(planned))
            for key, instance in planned.items():
                found[address if key is None else f"{address}[{json.dumps(key)}]"] = instance
        return found

    def output(self, name):
        return self.value(self.folder.outputs[name].arguments["value"], {})

    def planned(self, address):
        """A resource or data source: one instance, or a list (count) or a dictionary (for_each) of them."""
        if address not in self.cache:
            block = (self.folder.data if address.startswith("data.") else self.folder.resources)[address]
            schema = self.schema[block.kind][block.labels[0]]["schema"]

            def instance(scope, suffix=""):
                values = {**self.body(block, scope), **self.known.get(address, {})}
                return Instance(address + suffix, schema, values)

            if "count" in block.arguments:
                count = self.value(block.arguments["count"], {})
                result = [instance({}, f"[{n}]") for n in range(count)]
            elif "for_each" in block.arguments:
                pairs = elements(self.value(block.arguments["for_each"], {}), by_key=True)
                result = {k: instance({"each": {"key": k, "value": v}}, f"[{k}]") for k, v in pairs}
            else:
                result = instance({})
            self.cache[address] = result
        return self.cache[address]

    def body(self, block, scope):
        """Arguments and blocks of a block; a block is a list of its occurrences."""
        result = {name: self.value(node, scope) for name, node in block.arguments.items() if name not in META_ARGUMENTS}
        for inner in block.blocks:
            if inner.kind == "dynamic":
                name = inner.labels[0]
                for key, value in elements(self.value(inner.arguments["for_each"], scope)):
                    bound = {**scope, name: {"key": key, "value": value}}
                    result.setdefault(name, []).extend(self.body(content, bound) for content in inner.within("content"))
            elif inner.kind != "lifecycle":
                result.setdefault(inner.kind, []).append(self.body(inner, scope))
        return result

    # --- expressions ---

    def value(self, node, scope):
        return getattr(self, "_" + type(node).__name__)(node, scope)

    def _ExprTermRule(self, node, scope):
        return self.value(node.expression, scope)

    def _StringRule(self, node, scope):
        return "".join(self._part(part.content, scope) for part in node.string_parts)

    def _part(self, part, scope):
        if isinstance(part, strings.InterpolationRule):
            return text(self.value(part.expression, scope))
        # the escapes of HCL that we use are those of JSON
        return json.loads('"' + str(part.value) + '"') if part.lark_name() == "STRING_CHARS" else str(part.value)[1:]

    def _IntLitRule(self, node, scope):
        return int(node.token.value)

    def _LiteralValueRule(self, node, scope):
        return {"true": True, "false": False, "null": None}[str(node.token.value)]

    def _TupleRule(self, node, scope):
        return [self.value(element, scope) for element in node.elements]

    def _ObjectRule(self, node, scope):
        return {self._key(e.key.value, scope): self.value(e.expression, scope) for e in node.elements}

    def _key(self, key, scope):
        return word(key) if isinstance(key, literal_rules.IdentifierRule) else self.value(key, scope)

    def _ConditionalRule(self, node, scope):
        return self.value(node.if_true if self.value(node.condition, scope) else node.if_false, scope)

    def _BinaryOpRule(self, node, scope):
        left, sign = self.value(node.expr_term, scope), str(node.binary_term.binary_operator.token.value)
        if sign in ("&&", "||") and left == (sign == "||"):
            return left
        right = self.value(node.binary_term.expr_term, scope)
        return right if sign in ("&&", "||") else OPERATORS[sign](left, right)

    def _ForTupleExprRule(self, node, scope):
        return [self.value(node.value_expr, bound) for bound in self._bindings(node, scope)]

    def _ForObjectExprRule(self, node, scope):
        return {self.value(node.key_expr, s): self.value(node.value_expr, s) for s in self._bindings(node, scope)}

    def _bindings(self, node, scope):
        intro = node.for_intro
        for key, value in elements(self.value(intro.iterable, scope)):
            bound = dict(scope)
            if intro.second_iterator:
                bound[word(intro.first_iterator)], bound[word(intro.second_iterator)] = key, value
            else:
                bound[word(intro.first_iterator)] = value
            if node.condition is None or self.value(node.condition.condition_expr, bound):
                yield bound

    def _IdentifierRule(self, node, scope):
        return scope[word(node)]

    def _GetAttrExprTermRule(self, node, scope):
        path, brackets = chain(node) or (None, None)
        if path and not brackets and path[0] not in scope:
            return self._root(path)
        return self.value(node.expr_term, scope)[word(node.get_attr.identifier)]

    def _root(self, path):
        kind, *names = path
        if kind == "var":
            result, names = self.inputs[names[0]], names[1:]
        elif kind == "local":
            if names[0] not in self.cache:
                self.cache[names[0]] = self.value(self.folder.locals[names[0]], {})
            result, names = self.cache[names[0]], names[1:]
        elif kind == "path":
            result, names = str(self.folder.path), names[1:]
        elif kind == "data":
            result, names = self.planned(".".join(path[:3])), names[2:]
        else:
            result, names = self.planned(".".join(path[:2])), names[1:]
        for name in names:
            result = result[name]
        return result

    def _IndexExprTermRule(self, node, scope):
        return self.value(node.children[0], scope)[self.value(node.children[1].index_expression, scope)]

    def _FullSplatExprTermRule(self, node, scope):
        (attribute,) = node.attr_splat.get_attrs
        return [element[word(attribute.identifier)] for element in self.value(node.expr_term, scope)]

    def _FunctionCallRule(self, node, scope):
        name = word(node.identifiers[0])
        nodes = node.arguments.arguments if node.arguments else []
        if name in ("can", "try"):
            try:
                value = self.value(nodes[0], scope)
                return True if name == "can" else value
            except (KeyError, ValueError, TypeError):
                return False if name == "can" else self.value(nodes[1], scope)
        return FUNCTIONS[name](*(self.value(argument, scope) for argument in nodes))


def chain(node):
    """The names of `a.b[X].c[*].d`, and what is in its brackets; None if it begins with something else."""
    if isinstance(node, expressions.ExprTermRule) and not node.parentheses:
        return chain(node.expression)
    if isinstance(node, literal_rules.IdentifierRule):
        return [word(node)], []
    if isinstance(node, indexing.GetAttrExprTermRule):
        begin, more, brackets = chain(node.expr_term), [node.get_attr], []
    elif isinstance(node, indexing.IndexExprTermRule):
        begin, more, brackets = chain(node.children[0]), [], [node.children[1].index_expression]
    elif isinstance(node, indexing.FullSplatExprTermRule):
        begin, more, brackets = chain(node.expr_term), node.attr_splat.get_attrs, [None]
    else:
        return None
    return begin and ([*begin[0], *(word(attribute.identifier) for attribute in more)], [*begin[1], *brackets])


def elements(value, by_key=False):
    """Pairs of key and value; a set given to for_each has its values as keys."""
    if isinstance(value, dict):
        return list(value.items())
    return [(v, v) for v in value] if by_key else list(enumerate(value))


def convert(kind, value):
    """A value of an input: attributes of an object that are not given are null, a set has no order."""
    if isinstance(kind, expressions.ExprTermRule):
        return convert(kind.expression, value)
    if value is None or isinstance(kind, literal_rules.IdentifierRule):
        return value
    name = word(kind.identifiers[0])
    (inner,) = kind.arguments.arguments
    if name == "object":
        fields = {word(e.key.value): e.expression for e in inner.expression.elements}
        assert value.keys() <= fields.keys(), f"{value.keys() - fields.keys()} in an object"
        return {field: convert(of, value.get(field)) for field, of in fields.items()}
    if name == "optional":
        return convert(inner, value)
    if name == "map":
        return {key: convert(inner, one) for key, one in value.items()}
    converted = [convert(inner, one) for one in value]
    return sorted(set(converted)) if name == "set" else converted


def text(value):
    assert value is not None, "null in a text"
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def match(pattern, value):
    found = re.search(pattern.replace("[:space:]", r"\s"), value)
    if not found:
        raise ValueError(f"{value} does not match {pattern}")
    return found[0]


def one(values):
    assert len(values) <= 1
    return values[0] if values else None


OPERATORS = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt,
    "+": operator.add, "*": operator.mul, "/": operator.truediv, "%": operator.mod,
}
FUNCTIONS = {
    "alltrue": all,
    "coalesce": lambda *values: next(value for value in values if value is not None),
    "concat": lambda *lists: [value for values in lists for value in values],
    "contains": lambda values, value: value in values,
    "distinct": lambda values: [v for n, v in enumerate(values) if v not in values[:n]],
    "file": lambda path: pathlib.Path(path).read_text(),
    "flatten": lambda lists: [value for values in lists for value in values],
    "floor": lambda number: int(number // 1),
    "join": lambda separator, values: separator.join(map(text, values)),
    "jsondecode": json.loads,
    "jsonencode": lambda value: json.dumps(value, sort_keys=True, separators=(",", ":"), default=text),
    "keys": sorted,
    "length": len,
    "lookup": lambda values, key, default: values.get(key, default),
    "merge": lambda *objects: {key: value for one in objects for key, value in one.items()},
    "one": one,
    "parseint": int,
    "regex": match,
    "replace": lambda value, old, new: value.replace(old, new),
    "setintersection": lambda a, b: sorted(set(a) & set(b)),
    "setsubtract": lambda a, b: sorted(set(a) - set(b)),
    "sha256": lambda value: hashlib.sha256(value.encode()).hexdigest(),
    "split": lambda separator, value: value.split(separator),
    "substr": lambda value, start, length: value[start : start + length],
    "tonumber": int,
    "toset": lambda values: sorted(set(values)),
}
