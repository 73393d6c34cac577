"""Feed documents made of dangerous pieces to everything that reads a stranger's file, under an audit hook.

``python fuzz_files.py COUNT SEED FOLDER`` prints a JSON object of counts.  It runs in a process of its
own: from the moment the hook is set, any import, any code that is compiled or run from text, any process,
socket, or file opened for writing is recorded and fails the run.
"""

import contextlib
import io
import json
import random
import sys
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

NAMES = ["VAE", "FlowModel", "StandardNormal", "FlowPrior", "MLPDecoder", "MeanFieldGuide", "VampPrior", "DReG"]
PATHS = [
    *NAMES,
    *(f"pyro_models.{name}" for name in NAMES),
    *("pyro_models.models.vae.VAE", "pyro_models.flip_realnvp", "inference.objectives.STL", "pyro.infer.Trace_ELBO"),
    *("os.system", "os.abort", "posix.abort", "builtins.eval", "builtins.exec", "subprocess.Popen", "importlib.reload"),
    "pyro.infer.autoguide.utils.deep_setattr",
    "pyro.infer.predictive.MHResampler",
    "pyro.infer.inspect.os.abort",
    "pyro.infer.RenyiELBO",
    "pyro_models.models.vae.torch.load",
    "pyro_models._arguments.check_arguments",
    "pyro_models.parts.PARTS",
    "pyro_models.VAE.__init__",
    "inference.runs.build.importlib.import_module",
    "inference.write_whole",
    "torch.nn.Linear",
    "torch.load",
    *("evil", "evil.Evil", "evil.strike", ".evil.Evil", "evil..Evil", "evil.Evil.__class__", "allowed.evil.Evil"),
    *("allowed.Laplace", "allowed.os.abort", "allowed.strike", "allowed.Borrowed", "allowed._Private", "allowed.sub.X"),
    *("part-1.yaml", "./part-1.yaml", "../part-1.yaml", "/etc/passwd", "file:///etc/passwd", "-", "~", ""),
    *(
        "pyro_models\uff0eVAE",
        "\uff50yro_models.VAE",
        "pyro_models.VA\u0415",
        "evi\u217c.Evil",
        "evil\u200b.Evil",
        "evil\n.Evil",
        "EVIL.Evil",
    ),
    '{"class_path": "evil.Evil"}',
    "{class_path: os.abort, init_args: {}}",
    "!!python/object/apply:os.abort []",
]
KEYS = [
    *("class_path", "init_args", "same_as", "dict_kwargs", "model", "guide", "prior", "encoder", "hidden", "objective"),
    *(
        "latent_dim",
        "__class__",
        "__init__",
        ".__class__.aa",
        ".aa.ctx.sys.path",
        "prior.class_path",
        "prior.init_args",
    ),
    *("jit_options", "out", "config", "resume", "overwrite", "allow_import", "print_config", "help", "prior.help"),
    *("data_root", "--allow_import", "<<", "=", "a b", "ключ", "\x1b[31m", "nothing", "num_particles", "self", "cls"),
]
NUMBERS = [
    "0",
    "-1",
    "3",
    "1.5",
    "1e3",
    ".inf",
    "-.inf",
    ".nan",
    "9" * 30,
    "1" + "0" * 400,
    "1.0e+999",
    "0x7f",
    "1:30:00",
    "1:" * 300 + "1.5",
]
SCALARS = [*NUMBERS, "null", "true", "no", "2024-13-45", "2024-01-01", "!!binary aGk=", "!!python/name:os.abort ''"]
TAGS = [
    "!!python/object/apply:os.abort ",
    "!!python/module:evil ",
    "!!python/object/new:evil.Evil ",
    "!evil ",
    "!!set ",
]
WORDS = [
    "--prior",
    "--prior.hidden",
    "--objective",
    "--allow_import",
    "--out",
    "--config",
    "--resume",
    "--guide",
    "--help",
    "-h",
    "--",
]


STRIKING = ["evil.Evil", "evil.strike", "allowed.strike", "allowed.os.mkdir", "allowed.Laplace", "os.abort", "evil"]


def made_up(draw: random.Random, depth: int = 0) -> object:
    """A node: texts that begin with a backtick are written as they are."""
    kind = draw.random()
    if kind < 0.3 or depth > 4:
        return draw.choice(PATHS)
    if kind < 0.5:
        return f"`{draw.choice(SCALARS)}"
    if kind < 0.6:
        return [made_up(draw, depth + 1) for _ in range(draw.randint(0, 3))]
    if kind < 0.85:
        return {"class_path": draw.choice(PATHS), "init_args": arguments(draw, depth + 1)}
    return arguments(draw, depth + 1)


def arguments(draw: random.Random, depth: int) -> dict:
    return {draw.choice(KEYS): made_up(draw, depth + 1) for _ in range(draw.randint(0, 3))}


def changed(draw: random.Random, node: object, share: float) -> object:
    """A copy of a document, a share of whose nodes are replaced or have others beside them."""
    if draw.random() < share:
        return made_up(draw, 2)
    if isinstance(node, dict):
        new = {key: changed(draw, value, share) for key, value in node.items()}
        if draw.random() < share:
            new[draw.choice(KEYS)] = made_up(draw, 2)
        return new
    if isinstance(node, list):
        return [changed(draw, item, share) for item in node]
    return node


def aimed(draw: random.Random, node: object) -> object:
    """A copy of a document that is different in one place alone, so that nothing else has it refused."""
    copy = json.loads(json.dumps(node))
    if isinstance(copy, dict) and draw.random() < 0.1:
        return copy | {draw.choice(KEYS): "`true"}
    places: list = []

    def walk(inner: object) -> None:
        for key, value in (
            inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else ()
        ):
            places.append((inner, key))
            walk(value)

    walk(copy)
    paths = [(inner, key) for inner, key in places if key == "class_path"]
    inner, key = draw.choice(paths if paths and draw.random() < 0.5 else places)
    inner[key] = draw.choice([*PATHS, *20 * STRIKING]) if key == "class_path" else made_up(draw, 2)
    if key == "class_path" and "init_args" in inner and draw.random() < 0.7:
        inner["init_args"] = {}
    return copy


def written(draw: random.Random, node: object, odd: float) -> str:
    """A document in YAML's flow style, with tags, anchors, aliases, merge keys and repeated keys strewn in."""
    before = ""
    if draw.random() < odd:
        before = draw.choice([*TAGS, "&a ", "&b "])
    if draw.random() < odd / 2:
        return draw.choice(["*a", "*b"])
    if isinstance(node, dict):
        items = [f"{json.dumps(key)}: {written(draw, value, odd)}" for key, value in node.items()]
        if items and draw.random() < odd:
            items.append(draw.choice(["<<: {class_path: evil.Evil}", "<<: *a", items[0], "? [a, b] : 1", "? {a: 1}"]))
        return before + "{" + ", ".join(items) + "}"
    if isinstance(node, list):
        return before + "[" + ", ".join(written(draw, item, odd) for item in node) + "]"
    if isinstance(node, str) and node.startswith("`"):
        return node[1:]
    if isinstance(node, float):
        return before + yaml.safe_dump(node).split()[0]
    return before + json.dumps(node, ensure_ascii=draw.random() < 0.5)


class Watch:
    """The audit hook: a list of what should not have happened."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, details: tuple) -> None:
        if not self.on:
            return
        bad = event in (
            "import",
            "exec",
            "compile",
            "os.system",
            "os.exec",
            "os.fork",
            "os.posix_spawn",
            "ctypes.dlopen",
        )
        bad |= event.startswith(("subprocess.", "socket.", "shutil.", "os.remove", "os.rename", "os.mkdir", "os.rmdir"))
        bad |= event == "open" and isinstance(details[1], str) and not set("wax+").isdisjoint(details[1])
        bad |= event.startswith(
            ("pickle.", "marshal.", "code.__new__", "os.kill", "os.putenv", "os.symlink", "os.chmod")
        )
        if bad:
            self.seen.append(f"{event} {str(details)[:200]}")


def main(count: int, seed: int, folder: Path) -> None:
    import inference
    import pyro_models_cli.commands.train_realnvp as train_realnvp
    import pyro_models_cli.commands.train_vae as train_vae
    import pyro_models_cli.rows as _rows
    import pyro_models_cli.training as _training
    from pyro_models_cli.data import Data

    watch = Watch()
    draw = random.Random(seed)
    run, flow = folder / "vae", folder / "flow"
    whole = {
        (place, name): (place / name).read_text() for place in (run, flow) for name in ("model.yaml", "config.yaml")
    }
    plain = {key: yaml.safe_load(text) for key, text in whole.items()}
    train = inference.binarise(inference.load_dataset("digits")[0], "dynamic").take(slice(4))
    data = Data(train, None, {}, [])
    outcomes: Counter = Counter()

    def configured(file: Path, *words: str) -> None:
        options = train_vae.parse(["--config", str(file), "--out", "unused", "--dataset", "digits", *words])
        _training.build_and_try(options, train_vae.describe_pair(options, data), train)

    def described(place: Path) -> None:
        inference.load(place, allow=draw.choice([(), ("allowed",)]))

    def listed(file: Path) -> None:
        rows = _rows.read_rows(file)
        for row in rows.values():
            _rows.check_row("a row", row)
            train_vae.parse([*row.split(), "--out", "unused", "--dataset", "digits"], trusted=False)

    def try_one(way: str, document: str) -> None:
        place = flow if way == "load flow" else run
        name = "model.yaml" if way.startswith("load") else "config.yaml"
        file = place / name if way != "list" else folder / "rows.yaml"
        file.write_text(document, errors="surrogatepass")
        allow = ["--allow_import", "allowed"] if draw.random() < 0.3 else []
        watch.on = True
        try:
            if way.startswith("load"):
                described(place)
            elif way == "list":
                listed(file)
            elif way == "resume":
                train_vae.parse(["--resume", "--out", str(run), *allow])
            elif way == "flow":
                train_realnvp.parse(["--config", str(file), "--out", "unused", *allow])
            else:
                configured(file, *allow)
            outcomes[f"{way}: accepted"] += 1
        except (ValueError, TypeError, RuntimeError, NotImplementedError, ArithmeticError, OSError) as error:
            outcomes[f"{way}: refused"] += 1
            if isinstance(error, ValueError) and not str(error).strip():
                watch.seen.append(f"an error without a word: {document}")
        except BaseException as error:
            watch.seen.append(f"{type(error).__name__}: {error}")
        finally:
            watch.on = False
            for text in watch.seen:
                failures.append([way, document, text])
            watch.seen.clear()
            (place / name).write_text(whole[place, name])

    failures: list = []
    ways = {
        "load": plain[run, "model.yaml"],
        "load flow": plain[flow, "model.yaml"],
        "config": plain[run, "config.yaml"],
        "flow": plain[flow, "config.yaml"],
        "resume": plain[run, "config.yaml"],
        "list": {"one": "--latent_dim 2", "two": "--prior FlowPrior --prior.hidden [3]"},
    }
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        for way, document in ways.items():  # warm up: what is imported when it is first needed
            try_one(way, written(draw, document, odd=0))
        for role, names in (("prior", train_vae.PRIOR.names), ("guide", train_vae.GUIDE.names)):
            for name in names:  # torch, too, imports some of its own parts only when they are used
                part = {"class_path": f"pyro_models.{name}", "init_args": {}}
                try_one("config", written(draw, ways["config"] | {role: part}, odd=0))
        for kind in ("NSF", "MAF"):
            inference.build({"class_path": "ZukoPrior", "init_args": {"latent_dim": 2, "kind": kind}})
        import allowed  # noqa: F401

        failures.clear()
        outcomes.clear()
        for _ in range(count):
            way = draw.choice(list(ways))
            document = ways[way]
            document = (
                aimed(draw, document) if draw.random() < 0.5 else changed(draw, document, draw.choice([0.01, 0.05]))
            )
            if way == "list" and isinstance(document, dict) and draw.random() < 0.7:
                words = [draw.choice([*WORDS, *PATHS]) for _ in range(4)]
                document[draw.choice(["three", "../x", "/x"])] = " ".join(words)
            try_one(way, written(draw, document, odd=draw.choice([0, 0, 0, 0.02])))
    print(json.dumps({"outcomes": outcomes, "failures": failures[:20], "failed": len(failures)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
