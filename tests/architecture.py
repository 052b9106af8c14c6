"""The rules of the tree: who may know whom, what nobody may do, and how long a thing may be.

Each rule reads the syntax trees under a root folder and yields one sentence per breach. What
follows from a breach is left to `test_architecture.py`. `python architecture.py ROOT RULE` prints the
breaches of one rule under a root.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("shared", "server", "client", "deploy")
MAY_IMPORT = {
    "shared": {"shared"},
    "server": {"shared", "server"},
    "client": {"shared", "client"},
    "deploy": set(PACKAGES),
}
# Folders with a narrower wall than their package's: what an auditor runs shares no code with what it checks
# but the rules of the formats.
NARROWER = {"deploy/audit/": ("shared.", "deploy.audit.")}

# Libraries that a short list of files may know; a folder stands for everything in it.
MAY_KNOW = {
    "flwr": (
        *("client/link.py", "client/line/", "client/app.py"),
        *("server/link.py", "server/app.py", "server/memory_link.py", "server/engine/"),
        *("shared/flower_objects.py", "deploy/simulation/", "deploy/bench/"),
    ),
    "monai": (
        *("shared/models.py", "shared/segmentation.py", "client/imaging/", "client/work/inferer.py"),
        "client/prediction/explaining.py",
    ),
    "uvicorn": ("server/engine/callers.py",),
    "torch": (
        *("shared/models.py", "shared/networks/", "shared/drawing.py", "shared/methods.py", "shared/classification.py"),
        *("shared/segmentation.py", "shared/randomness.py"),
        *("client/worker.py", "client/work/", "client/imaging/", "client/prediction/"),
        *("deploy/demo/compare.py", "deploy/simulation/plain_loop.py", "deploy/bench/explain.py"),
        *("deploy/bench/supply_times.py", "deploy/bench/train.py", "server/export/onnx_form.py"),
    ),
    "onnx": ("server/export/onnx_form.py",),
    "opacus": ("client/work/private_training.py",),
    "dp_accounting": ("shared/privacy.py", "deploy/audit/accounting.py"),
    "pydicom": ("client/imaging/", "client/pacs/", "deploy/phantom/", "deploy/bench/decode.py", "deploy/bench/supply_"),
    "pynetdicom": ("client/pacs/",),
    "nibabel": ("client/imaging/nifti.py", "client/imaging/nifti_mask.py"),
    "structlog": ("shared/log_file.py",),
    "cryptography": (
        *("shared/keys.py", "shared/envelope.py", "shared/chain.py", "shared/receipt.py", "shared/certificates.py"),
        *("server/membership/authority.py", "server/membership/authority_files.py", "shared/sealed.py"),
        *("client/link.py", "client/line/fleet.py", "deploy/release/", "deploy/bench/intruder_calls.py"),
    ),
}
# Whoever passes a key along may name its type; to compute with keys is the listed files' business.
KEY_TYPES = re.compile(r".*\.(ed25519\.Ed25519|ec\.EllipticCurve)(Private|Public)Key")
AGENT = ("agent", "link", "policy", "contract", "egress", "spool")
NOT_IN_AGENT = {"torch", "monai", "nibabel", "pydicom", "pynetdicom", "opacus", "dp_accounting", "scipy"}
SENTENCES = {"shared.remarks.remark": 0, "shared.remarks.trouble": 1}  # which argument a log keeps
UNPICKLERS = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "multiprocessing"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "__import__", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("torch.load", "torch.save", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"),
}
IMPORT_BY_NAME = ("deploy/cli.py",)
# Who may put a door into a site: the site itself, and the liar of the admission benchmark, which shows
# that the server relies on no check that a site makes of itself.
DOOR_FITTERS = ("client/site.py", "deploy/bench/attacker.py")
# Who sends: the agent, and the benchmark of the door, which gives a real line what the door let through and counts.
SENDERS = ("client/agent.py", "deploy/bench/door_bed.py")
LINK_HOLDERS = ("client/site.py", "client/answering.py")
# Who may run without waiting for the disk: what a power cut may take.
VOLATILE = ("shared/durable.py", "deploy/simulation/")
# Who may draw private numbers that can be foretold: the benchmark of the bound, whose noise has to cancel.
SEEDED = ("shared/randomness.py", "deploy/bench/sensitivity.py")
LONGEST_FILE, LONGEST_FUNCTION = 350, 50


@dataclass(frozen=True)
class Source:
    """One file of ours: its path from the root, its module name, its syntax tree."""

    path: str
    name: str
    text: str
    tree: ast.Module = field(repr=False)

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Local name -> what it was imported as, `import torch as t` giving t -> torch."""
        found = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found |= {
                    (a.asname or a.name.partition(".")[0]): (a.name if a.asname else a.name.partition(".")[0])
                    for a in node.names
                }
            elif isinstance(node, ast.ImportFrom):
                found |= {(a.asname or a.name): f"{node.module}.{a.name}" for a in node.names}
        return found

    def called(self, node: ast.expr) -> str:
        """The dotted name that an expression spells, its first part traced to the import."""
        head, dot, tail = ast.unparse(node).partition(".")
        return self.aliases.get(head, head) + dot + tail

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def calls(self) -> list[tuple[ast.Call, str]]:
        """Every call, with the dotted name of what it calls."""
        return [(node, self.called(node.func)) for node in self.nodes if isinstance(node, ast.Call)]

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """(line, dotted name) of every import that can run."""
        return list(self._imports(aside=_is_type_checking))

    @cached_property
    def imports_on_load(self) -> list[tuple[int, str]]:
        """Those of them that run when the file is loaded: they stand outside functions."""
        return list(self._imports(aside=_is_deferred))

    def _imports(self, *, aside: Callable[[ast.AST], bool]) -> Iterator[tuple[int, str]]:
        skipped = {id(n) for branch in self.nodes if aside(branch) for n in ast.walk(branch)}
        for node in self.nodes:
            if id(node) in skipped:
                continue
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.lineno, f"{'.' * node.level}{node.module or ''}.{a.name}") for a in node.names)


Tree = dict[str, Source]
Rule = Callable[[Tree], Iterator[str]]


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _is_deferred(node: ast.AST) -> bool:
    return _is_type_checking(node) or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def read(root: Path) -> Tree:
    """Every Python file of ours under a root, by module name."""
    tree: Tree = {}
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            tree |= parsed(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8"))
    return tree


def parsed(path: str, text: str) -> Tree:
    """One file as a tree of its own."""
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return {name: Source(path, name, text, ast.parse(text))}


def ours(tree: Tree, dotted: str) -> str | None:
    """The module of ours that an import of a dotted name loads, if it is one of ours."""
    while dotted:
        if dotted in tree:
            return dotted
        dotted = dotted.rpartition(".")[0]
    return None


def edges(tree: Tree, *, on_load: bool = False) -> dict[str, set[str]]:
    """Module -> the modules of ours that it loads, the packages on the way included."""
    graph: dict[str, set[str]] = {}
    for name, source in tree.items():
        loaded = {
            found
            for _, dotted in (source.imports_on_load if on_load else source.imports)
            if (found := ours(tree, dotted))
        }
        parents = {module[:i] for module in loaded for i, c in enumerate(module) if c == "."}
        graph[name] = {m for m in loaded | parents if m != name and not name.startswith(m + ".")}
    return graph


def reach(graph: dict[str, set[str]], start: str) -> set[str]:
    """Everything that loading a module loads, itself included."""
    seen, waiting = set(), [start]
    while waiting:
        if (module := waiting.pop()) not in seen:
            seen.add(module)
            waiting += graph[module]
    return seen


# ------------------------------------------------------------------ the rules


def walls(tree: Tree) -> Iterator[str]:
    """shared imports nobody of ours, server and client only shared, and nobody imports deploy; some know less."""
    for source in tree.values():
        for line, dotted in source.imports:
            if dotted.startswith("."):
                yield f"{source.path}:{line} imports relatively"
            top = dotted.partition(".")[0]
            if top in PACKAGES and top not in MAY_IMPORT[source.package]:
                yield f"{source.path}:{line} imports {dotted}"
            for folder, known in NARROWER.items():
                if source.path.startswith(folder) and top in PACKAGES and not dotted.startswith(known):
                    yield f"{source.path}:{line} imports {dotted}"


def libraries(tree: Tree) -> Iterator[str]:
    """Flower, MONAI, torch, pydicom and cryptography are known to the listed files alone."""
    for source in tree.values():
        for line, dotted in source.imports:
            allowed = MAY_KNOW.get(dotted.partition(".")[0])
            if allowed and not source.path.startswith(allowed) and not KEY_TYPES.fullmatch(dotted):
                yield f"{source.path}:{line} imports {dotted}"


def agent_is_light(tree: Tree) -> Iterator[str]:
    """Loading a file of the agent loads neither torch nor MONAI nor pydicom through any module of ours.

    A shared module may keep torch inside the functions that only the worker calls; the agent's own
    files may not even do that.
    """
    graph = edges(tree, on_load=True)
    for start in (f"client.{name}" for name in AGENT if f"client.{name}" in tree):
        for module in sorted(reach(graph, start)):
            imports = tree[module].imports if module == start else tree[module].imports_on_load
            heavy = {dotted.partition(".")[0] for _, dotted in imports} & NOT_IN_AGENT
            if heavy:
                yield f"{tree[start].path} reaches {', '.join(sorted(heavy))} through {tree[module].path}"


def no_cycles(tree: Tree) -> Iterator[str]:
    """No module loads itself by way of others."""
    graph = edges(tree)
    for name in tree:
        if any(name in reach(graph, loaded) for loaded in graph[name]):
            yield f"{tree[name].path} is part of an import cycle"


def no_code_from_data(tree: Tree) -> Iterator[str]:
    """Nothing unpickles, evaluates text, imports by name, or hands text to a shell."""
    for source in tree.values():
        for line, dotted in source.imports:
            if dotted.partition(".")[0] in UNPICKLERS or dotted in FORBIDDEN_CALLS:
                yield f"{source.path}:{line} imports {dotted}"
        for node, called in source.calls:
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if called in FORBIDDEN_CALLS or keywords.get("shell", "False") != "False":
                yield f"{source.path}:{node.lineno} calls {called}"
            if keywords.get("allow_pickle", "False") != "False":
                yield f"{source.path}:{node.lineno} lets {called} unpickle"
            if called == "importlib.import_module" and source.path not in IMPORT_BY_NAME:
                yield f"{source.path}:{node.lineno} imports by name"


def one_door(tree: Tree) -> Iterator[str]:
    """Outside client/egress.py `Released` is a word for types and isinstance, never a thing to call.

    Nor does anybody but the listed files give a site its egress.
    """
    for source in tree.values():
        fits = source.path in DOOR_FITTERS
        for node in source.nodes:
            replaced = isinstance(node, ast.keyword) and node.arg == "egress"
            stored = isinstance(node, ast.Attribute) and node.attr == "egress" and isinstance(node.ctx, ast.Store)
            if (replaced or stored) and not fits:
                yield f"{source.path}:{node.lineno} fits a door"
        if source.path == "client/egress.py":
            continue
        harmless = {id(n) for part in _types_of(source) for n in ast.walk(part)}
        names = {local for local, dotted in source.aliases.items() if dotted.endswith(".Released")} | {"Released"}
        for node in source.nodes:
            named = isinstance(node, ast.Name) and node.id in names
            if (named or (isinstance(node, ast.Attribute) and node.attr == "Released")) and id(node) not in harmless:
                yield f"{source.path}:{node.lineno} takes hold of Released"


def one_sender(tree: Tree) -> Iterator[str]:
    """Few hold the link, and of them only the senders call its send."""
    for source in tree.values():
        if source.path in ("client/link.py", *SENDERS):
            continue
        holds = source.path in LINK_HOLDERS
        for line, dotted in source.imports:
            if f"{dotted}.".startswith("client.link.") and not holds:
                yield f"{source.path}:{line} imports the link"
        for node in source.nodes:
            if isinstance(node, ast.Constant) and node.value == "send":
                yield f"{source.path}:{node.lineno} takes send by name"
            sends = isinstance(node, ast.Attribute) and node.attr == "send"
            if sends and (holds or "link" in ast.unparse(node.value).lower()):
                yield f"{source.path}:{node.lineno} sends past the agent"


def durable(tree: Tree) -> Iterator[str]:
    """Nobody but a simulation may stop waiting for the disk, and all wait through shared/durable.py."""
    for source in tree.values():
        if not source.path.startswith(VOLATILE):
            for line, dotted in source.imports:
                if dotted in ("shared.durable.never_waiting", "shared.durable._volatile"):
                    yield f"{source.path}:{line} does not wait for the disk"
        for node, called in source.calls:
            if called.endswith("never_waiting") and not source.path.startswith(VOLATILE):
                yield f"{source.path}:{node.lineno} does not wait for the disk"
            if called == "os.fsync" and source.path != "shared/durable.py":
                yield f"{source.path}:{node.lineno} waits past shared/durable.py"


def literal_remarks(tree: Tree) -> Iterator[str]:
    """The sentence of a remark, which a log keeps as it is, is a literal, or a name that stands for literals alone."""
    for source in tree.values():
        named = _literals(source)
        for node in source.nodes:
            place = SENTENCES.get(source.called(node.func)) if isinstance(node, ast.Call) else None
            for sentence in node.args[place : place + 1] if isinstance(node, ast.Call) and place is not None else ():
                if not isinstance(sentence, ast.Constant) and not named.get(ast.unparse(sentence), False):
                    yield f"{source.path}:{node.lineno} says a sentence that is no literal"


def _literals(source: Source) -> dict[str, bool]:
    """Of each name that is assigned in a file, whether it always stands for a literal."""
    found: dict[str, bool] = {}
    for node in source.nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                pairs = zip(target.elts, node.value.elts, strict=False) if several else [(target, node.value)]
                for one, value in pairs:
                    name = ast.unparse(one)
                    found[name] = found.get(name, True) and isinstance(value, ast.Constant)
    return found


def unforeseeable(tree: Tree) -> Iterator[str]:
    """No site draws noise that somebody could draw again."""
    for source in tree.values():
        for node in source.nodes:
            if getattr(node, "attr", "") == "seeded_for_tests" and source.path not in SEEDED:
                yield f"{source.path}:{node.lineno} draws what can be foretold"


def sizes(tree: Tree) -> Iterator[str]:
    """A file fits in one reading, a function on one screen."""
    for source in tree.values():
        if (lines := source.text.count("\n")) > LONGEST_FILE:
            yield f"{source.path} has {lines} lines"
        for node in source.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    yield f"{source.path}:{node.lineno} {node.name} has {lines} lines"


def _types_of(source: Source) -> Iterator[ast.AST]:
    """The parts of a file where a class is named as a type: annotations, isinstance, case patterns."""
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.returns
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.MatchClass):
            yield node.cls
    yield from (node.args[1] for node, called in source.calls if called == "isinstance")


RULES: tuple[Rule, ...] = (
    *(walls, libraries, agent_is_light, no_cycles, no_code_from_data),
    *(one_door, one_sender, durable, literal_remarks, unforeseeable, sizes),
)

if __name__ == "__main__":
    found = read(Path(sys.argv[1]))
    print(*(breach for rule in RULES if rule.__name__ == sys.argv[2] for breach in rule(found)), sep="\n")
