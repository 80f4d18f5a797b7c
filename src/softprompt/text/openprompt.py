"""OpenPrompt's notation: `{"placeholder":"text_a"} It was {"mask"}.`

Source: thunlp/OpenPrompt, `MixedTemplate.parse_text` and `prepare`. Theirs evaluates what stands in
the braces; here it is parsed, never run, and its few useful lambdas are known by sight. Knows no
tokenizer and no model.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from softprompt.errors import TemplateError
from softprompt.text.filters import FILTERS
from softprompt.text.grammar import MAX_LENGTH
from softprompt.text.parts import Answer, FieldRef, Filter, Literal, Part, Sep, Soft, Start
from softprompt.text.template import Template

# The body of a `post_processing` lambda of `s` -> the filter that does the same.
_LAMBDAS = {
    "s": (),
    "s.rstrip(string.punctuation)": (Filter("strip_end"),),  # theirs drops closing quotes as well
    "s[:-1]": (Filter("drop_last"),),
    "s[:1].lower() + s[1:]": (Filter("lower_first"),),
    "s[:1].upper() + s[1:]": (Filter("upper_first"),),
    "s[0].lower() + s[1:]": (Filter("lower_first"),),
    "s[0].upper() + s[1:]": (Filter("upper_first"),),
    "s.lower()": (Filter("lower"),),
    "s.upper()": (Filter("upper"),),
    "s.strip()": (Filter("strip"),),
}


def from_openprompt(source: str, *, fields: Mapping[str, str] | None = None) -> Template:
    """Read one template of OpenPrompt.

    Each slot means what it means there: `{"soft"}` is one row (not the method's length),
    `{"meta": …}` is not truncated unless `shortenable` says so, `soft_id` is a name that its first
    use defines. White space before a soft slot without words and before a special token says
    nothing; a space before `{"mask"}` belongs to the answer. Their verbalizers put a space before
    every label word: where the template has none there (`?{"mask"}`), write it yourself if wanted.

    Args:
        source: in their notation, Python literals in braces.
        fields: their name (`text_a`, a `meta` key) -> field of the task; others keep their name.
    Raises:
        TemplateError: braces that do not read, unknown keys, a `post_processing` without a filter.
    """
    importer = _Importer(source, fields or {})
    pieces = list(_pieces(source))
    parts: list[Part] = []
    for index, piece in enumerate(pieces):
        edge = _Edge(first=not parts, last=index == len(pieces) - 1)
        parts += importer.parts(piece, edge)
    return Template.from_parts(parts)


@dataclass(frozen=True)
class _Piece:
    """A run of text, or the content of a pair of braces; `prefix` is " " if spaces stood before."""

    prefix: str
    text: str
    is_slot: bool
    column: int


@dataclass(frozen=True)
class _Edge:
    """Whether nothing stands before a piece, or after it."""

    first: bool
    last: bool


def _pieces(source: str) -> Iterator[_Piece]:
    at = 0
    while True:
        begin = at
        while source[at : at + 1] == " ":
            at += 1
        if at == len(source):
            return
        prefix, column = " " if at > begin else "", at + 1
        if source[at] == "{":
            end = _closing_brace(source, at)
            yield _Piece(prefix, source[at : end + 1], True, column)
            at = end + 1
        else:
            end = source.find("{", at)
            end = len(source) if end < 0 else end
            text = source[at:end].rstrip(" ")
            yield _Piece(prefix, text, False, column)
            at += len(text)


def _closing_brace(source: str, opened: int) -> int:
    depth, quote, at = 0, "", opened
    while at < len(source):
        mark = source[at]
        if quote:
            at += mark == "\\"
            quote = "" if mark == quote else quote
        elif mark in "\"'":
            quote = mark
        elif mark in "{}":
            depth += 1 if mark == "{" else -1
            if depth == 0:
                return at
        at += 1
    found = "the end of the template"
    raise TemplateError(f"expected '}}' to close this slot, found {found}", source, opened + 1)


class _Importer:
    """One source on its way into parts; remembers which rows already have a name."""

    def __init__(self, source: str, fields: Mapping[str, str]):
        self.source, self.fields = source, fields
        self.groups: set[str] = set()
        self.column = 1
        self.kinds: dict[str, Callable[[dict[str, Any], str, _Edge], list[Part]]] = {
            "placeholder": self.placeholder,
            "meta": self.meta,
            "mask": self.mask,
            "soft": self.soft,
            "special": self.special,
            "text": self.text,
        }

    def parts(self, piece: _Piece, edge: _Edge) -> list[Part]:
        self.column = piece.column
        if not piece.is_slot:
            return [Literal(piece.prefix + piece.text)]
        slot = self.slot(piece.text)
        if "soft_id" in slot:
            slot.setdefault("soft", None)
        named = [kind for kind in self.kinds if kind in slot]
        if len(named) != 1:
            self.fail(f"one of {', '.join(self.kinds)}, soft_id", piece.text)
        if slot.get("post_processing") == "mlp":
            self.fail("no 'mlp' in a template: it is a setting of the method", piece.text)
        return self.kinds[named[0]](slot, piece.prefix, edge)

    # What may stand in the braces.

    def placeholder(self, slot: dict[str, Any], prefix: str, edge: _Edge) -> list[Part]:
        return self.field(slot, "placeholder", prefix, shortenable=True)

    def meta(self, slot: dict[str, Any], prefix: str, edge: _Edge) -> list[Part]:
        return self.field(slot, "meta", prefix, shortenable=False)

    def field(
        self, slot: dict[str, Any], kind: str, prefix: str, *, shortenable: bool
    ) -> list[Part]:
        self.only(slot, kind, "shortenable", "post_processing")
        name = self.words(slot, kind)
        filters, after = self.post_processing(slot.get("post_processing"))
        keep = not slot.get("shortenable", shortenable)
        field = FieldRef(self.fields.get(name, name), filters, keep)
        return [Literal(prefix), field, Literal(after)]

    def mask(self, slot: dict[str, Any], prefix: str, edge: _Edge) -> list[Part]:
        self.only(slot, "mask")
        return [Answer()] if edge.first else [Literal(prefix), Answer()]

    def text(self, slot: dict[str, Any], prefix: str, edge: _Edge) -> list[Part]:
        self.only(slot, "text")
        return [Literal(prefix + self.words(slot, "text"))]

    def special(self, slot: dict[str, Any], prefix: str, edge: _Edge) -> list[Part]:
        self.only(slot, "special")
        token = slot["special"]
        if token in ("<cls>", "<bos>"):
            return [] if edge.first else [Start()]
        if token in ("<sep>", "<eos>") and edge.last:
            return []  # every text ends with the tokenizer's end tokens
        if token == "<sep>":
            return [Sep()]
        if token == "<mask>":
            return self.mask({"mask": None}, prefix, edge)
        self.fail("<sep>, <cls>, <bos> or <mask> (<eos> only at the end)", repr(token))

    def soft(self, slot: dict[str, Any], prefix: str, edge: _Edge) -> list[Part]:
        self.only(slot, "soft", "soft_id", "duplicate", "same")
        group = None
        if "soft_id" in slot:
            group = str(self.count(slot, "soft_id"))
            if group in self.groups:
                return [Soft(group=group)]
            self.groups.add(group)
        if slot["soft"] is not None:
            if "duplicate" in slot or "same" in slot:
                self.fail('duplicate and same with {"soft": None} only', repr(slot["soft"]))
            return [Soft(text=prefix + self.words(slot, "soft"), group=group)]
        length = self.count(slot, "duplicate") if "duplicate" in slot else 1
        if not slot.get("same"):
            return [Soft(length, group=group)]
        if group is not None:
            self.fail("soft_id or same, not both", f"soft_id {group}")
        group = f"same{len(self.groups) + 1}"  # soft_ids are digits: no clash
        self.groups.add(group)
        return [Soft(1, group=group), *[Soft(group=group)] * (length - 1)]

    # Their Python literals.

    def slot(self, written: str) -> dict[str, Any]:
        """`{"mask"}` or `{"soft": None, "duplicate": 3}`; lambdas stay syntax trees."""
        node = self.tree(written)
        if isinstance(node, ast.Set):
            keys: list[ast.expr | None] = list(node.elts)
            values: list[ast.expr] = [ast.Constant(None) for _ in keys]
        elif isinstance(node, ast.Dict):
            keys, values = node.keys, node.values
        else:
            self.fail('names and values, as in {"soft": None, "duplicate": 3}', written)
        slot: dict[str, Any] = {}
        for key, value in zip(keys, values, strict=True):
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                self.fail("a name in quotes before each ':'", written)
            if not isinstance(value, ast.Constant | ast.Lambda):
                self.fail(f"a text, a number, True, False or None for '{key.value}'", written)
            slot[key.value] = value.value if isinstance(value, ast.Constant) else value
        return slot

    def tree(self, written: str) -> ast.expr:
        try:
            with warnings.catch_warnings():  # "\d" in a user's template is not our warning
                warnings.simplefilter("ignore")
                return ast.parse(written, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self.fail('a Python dict or set, as in {"mask"}', written)

    def post_processing(self, value: object) -> tuple[tuple[Filter, ...], str]:
        """The filters that a lambda stands for, and the text that it appends."""
        if value is None:
            return (), ""
        known = f"a filter of ours in its place, {', '.join(FILTERS)}"
        if not isinstance(value, ast.Lambda) or len(value.args.args) != 1:
            self.fail(known, f"post_processing {value!r}")
        try:
            written = ast.unparse(value)
            for node in ast.walk(value.body):
                if isinstance(node, ast.Name) and node.id == value.args.args[0].arg:
                    node.id = "s"
            body = ast.unparse(value.body)
        except RecursionError:
            self.fail(known, "a lambda nested too deeply")
        match value.body:
            case ast.BinOp(ast.Name("s"), ast.Add(), ast.Constant(str() as text)):
                return (), text
        if body not in _LAMBDAS:
            self.fail(
                f"{known} ({{field|strip_end}} after the import)", f"post_processing {written}"
            )
        return _LAMBDAS[body], ""

    def only(self, slot: dict[str, Any], kind: str, *others: str) -> None:
        unknown = [name for name in slot if name not in (kind, *others)]
        if unknown:
            also = f" with {', '.join(others)}" if others else " alone"
            self.fail(f"'{kind}'{also}", ", ".join(unknown))

    def words(self, slot: dict[str, Any], name: str) -> str:
        words = slot[name]
        if not isinstance(words, str) or not words.strip():
            self.fail(f"a text for '{name}'", repr(words))
        return words

    def count(self, slot: dict[str, Any], name: str) -> int:
        count = slot[name]
        if type(count) is not int or not 1 <= count <= MAX_LENGTH:
            self.fail(f"a whole number from 1 to {MAX_LENGTH} for '{name}'", repr(count))
        return count

    def fail(self, expected: str, found: str) -> NoReturn:
        raise TemplateError(f"expected {expected}, found {found}", self.source, self.column)
