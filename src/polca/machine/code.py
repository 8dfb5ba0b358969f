"""Which code a result depends on, as a hash that comments, docstrings and formatting do not change.

The modules that a script imports, directly or through others, are found in its syntax tree; nothing is imported for
it. The package's own `__init__` is left out: its names are for users, while modules and stages import each other by
their full names. So a change is seen by what it can change, and by nothing else.
"""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from polca.errors import PolcaError

PACKAGE = Path(__file__).resolve().parents[1]
NAME = PACKAGE.name
ROOTS = (PACKAGE.parent,)


@cache
def _tree(source: bytes, path: Path) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise PolcaError(f"{path}: not valid Python ({error}): mend it") from error


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below `if TYPE_CHECKING:`, which never runs."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for node in child.orelse:
                yield from _run_time_nodes(node)
        else:
            yield from _run_time_nodes(child)


@cache
def _imports(source: bytes, path: Path, package: tuple[str, ...]) -> frozenset[str]:
    """What a file imports, at its top or inside functions, by full name; `package` is the one that it is in."""
    names: set[str] = set()
    for node in _run_time_nodes(_tree(source, path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            anchor = package[: len(package) + 1 - node.level] if node.level else ()
            names |= {".".join([*anchor, *filter(None, [node.module]), alias.name]) for alias in node.names}
    return frozenset(names)


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
        The entry itself, all that it imports directly or not (imports inside functions too, those for type checkers
        not), and every file of another kind in the folders of these modules; sorted.

    Raises:
        PolcaError: no such script or module, or one that is not valid Python.
    """
    waiting = module_files(entry, roots) if isinstance(entry, str) else [entry.resolve()]
    if not waiting or not waiting[-1].is_file():
        raise PolcaError(f"{entry}: no such script or module: correct the name")
    beside = waiting[-1].parent  # of a script: first on Python's own search path
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        package = next((path.relative_to(root).parts[:-1] for root in roots if path.is_relative_to(root)), ())
        for name in _imports(path.read_bytes(), path, package):
            if name.split(".")[0] == NAME:
                waiting += module_files(name, roots)
            elif not package and path.parent == beside:
                waiting += module_files(name, [beside])
    folders = {path.parent for path in found if any(path.is_relative_to(root / NAME) for root in roots)}
    data = (path for folder in folders for path in folder.iterdir() if path.is_file())
    found |= {path for path in data if path.suffix not in (".py", ".pyc") and not path.name.startswith(".")}
    return sorted(found)


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
