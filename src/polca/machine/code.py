"""Which code a result depends on, as a hash that comments, docstrings and formatting do not change.

The modules that a script imports, directly or through others, are found in its syntax tree; nothing is imported for
it. The package's own `__init__` is left out: its names are for users, while modules and stages import each other by
their full names. What a function imports when it is called counts where something mentions the function, so that a task
can score its clusters without the stage that trains it depending on how. So a change is seen by what it can change, and
by little else.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from polca.errors import PolcaError

PACKAGE = Path(__file__).resolve().parents[1]
NAME = PACKAGE.name
ROOTS = (PACKAGE.parent,)
PLAIN = {"property", "cached_property", "classmethod", "staticmethod", "cache", "contextmanager", "override"}
"""Decorators that leave it to others to call a function."""


@cache
def _tree(source: bytes, path: Path) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise PolcaError(f"{path}: not valid Python ({error}): correct it") from error


@dataclass
class _Uses:
    """What a piece of code imports, by full name, and every name and attribute that it mentions."""

    imports: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


@cache
def _uses(source: bytes, path: Path, package: tuple[str, ...]) -> Mapping[str, _Uses]:
    """What a file uses when it is loaded, under "", and what each of its functions does when called, by its name.

    Args:
        package: the one that the file is in.
    """
    uses: dict[str, _Uses] = {"": _Uses()}

    def look(node: ast.AST, function: str) -> None:
        own = uses.setdefault(function, _Uses())
        if isinstance(node, ast.Import):
            own.imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            anchor = package[: len(package) + 1 - node.level] if node.level else ()
            own.imports |= {".".join([*anchor, *filter(None, [node.module]), alias.name]) for alias in node.names}
        elif isinstance(node, ast.Name):
            own.names.add(node.id)
        elif isinstance(node, ast.Attribute):
            own.names.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not function:
            # Python itself calls those with underscores, and a decorator may; of nested ones the outermost counts.
            special = node.name.startswith("__") or {ast.unparse(d) for d in node.decorator_list} - PLAIN
            function = "" if special else node.name
        # What stands below `if TYPE_CHECKING:` never runs.
        checking = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.orelse if checking else ast.iter_child_nodes(node):  # type: ignore[attr-defined]
            look(child, function)

    look(_tree(source, path), "")
    return uses


def module_files(name: str, roots: Sequence[Path] = ROOTS) -> list[Path]:
    """The files that `import name` executes: the module and the `__init__` of every package that it is in.

    Args:
        name: `polca.method.bases`; of `polca.method.bases.Basis`, the module's part counts.
        roots: folders in which packages lie.

    Returns:
        Files without the package's own `__init__`; none for other people's modules.
    """
    files = []
    parts = name.split(".")
    for root in roots:
        for depth in range(1, len(parts) + 1):
            base = root.joinpath(*parts[:depth])
            files += [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
    return [path for path in files if path not in {root / NAME / "__init__.py" for root in roots}]


def modules_behind(entry: Path | str, roots: Sequence[Path] = ROOTS) -> list[Path]:
    """The package's modules, and the data files beside them, on which a script or a module of it depends.

    Args:
        entry: a script, with which modules in its own folder count too; or the full name of a module.
        roots: folders in which the package lies.

    Returns:
        The entry itself, all that it imports directly or not (inside a function, if the rest mentions the function's
        name; for type checkers, never), and every file of another kind in the folders of these modules;
        sorted.

    Raises:
        PolcaError: no such script or module, or one that is not valid Python.
    """
    waiting = module_files(entry, roots) if isinstance(entry, str) else [entry.resolve()]
    if not waiting or not waiting[-1].is_file():
        raise PolcaError(f"{entry}: no such script or module: correct the name")
    beside = waiting[-1].parent  # of a script: first on Python's own search path
    found: dict[Path, Mapping[str, _Uses]] = {}
    mentioned, resolved = {""}, set[tuple[str, bool]]()
    changed = True
    while changed:
        for path in set(waiting) - found.keys():
            package = next((path.relative_to(root).parts[:-1] for root in roots if path.is_relative_to(root)), ())
            found[path] = _uses(path.read_bytes(), path, package)
        known = len(mentioned)
        for uses in found.values():
            mentioned |= {name for function in uses.keys() & mentioned for name in uses[function].names}
        waiting = []
        for path, uses in found.items():
            script = path.parent == beside and not any(path.is_relative_to(root) for root in roots)
            imported = {name for function in uses.keys() & mentioned for name in uses[function].imports}
            for name, outside in {(name, script) for name in imported} - resolved:
                resolved.add((name, outside))
                own = name.split(".")[0] == NAME
                waiting += module_files(name, roots) if own else module_files(name, [beside]) if outside else []
        # What is mentioned only now may be a function that was passed over.
        changed = bool(set(waiting) - found.keys()) or len(mentioned) > known
    files = set(found)
    folders = {path.parent for path in files if any(path.is_relative_to(root / NAME) for root in roots)}
    data = (path for folder in folders for path in folder.iterdir() if path.is_file())
    files |= {path for path in data if path.suffix not in (".py", ".pyc") and not path.name.startswith(".")}
    return sorted(files)


def _words(node: ast.AST) -> Iterator[str]:
    """A syntax tree as words: classes and fields, without places, contexts, and strings that stand alone."""
    yield type(node).__name__
    for name in node._fields:
        value = getattr(node, name, None)
        # Empty fields, since newer Pythons add some; `kind` is the u of u"…".
        if value is None or value == [] or name in ("ctx", "kind", "type_ignores", "type_comment"):
            continue
        yield name
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
                continue
            if isinstance(node, ast.JoinedStr) and isinstance(item, ast.Constant) and not item.value:
                continue  # some Pythons put empty strings between the parts of an f-string
            if isinstance(item, ast.AST):
                yield from _words(item)
            else:
                # Escaped, since what is printable differs between Pythons.
                yield f"{type(item).__name__} {item!a}"
    yield "."


@cache
def _code(source: bytes, path: Path) -> bytes:
    return "\n".join(_words(_tree(source, path))).encode()


def code_hash(entry: Path | str | None = None, roots: Sequence[Path] = ROOTS) -> str:
    """SHA-256, in hexadecimal, of the code on which a script or a module depends: `modules_behind`, as syntax trees.

    Args:
        entry: a script, or the full name of a module; None for every module of the package.

    Raises:
        PolcaError: as `modules_behind`.
    """
    if entry is None:
        files = [path for root in roots for path in sorted((root / NAME).rglob("*.py"))]
    else:
        files = modules_behind(entry, roots)
    digest = hashlib.sha256()
    for path in files:
        # By its name in the package, so that the same code has the same hash in every folder.
        name = next((path.relative_to(root).as_posix() for root in roots if path.is_relative_to(root)), path.name)
        content = path.read_bytes()
        content = _code(content, path) if path.suffix == ".py" else content
        for part in (name.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
