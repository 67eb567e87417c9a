"""The conditions of a run: machine, libraries, code, models, and options that differ from their defaults."""

from collections.abc import Callable, Iterator
from typing import Any

from harness.legacy.reading import NO_TIME, NOT_RECORDED
from harness.options import Options
from harness.records.lines import Header, RunRecord
from harness.report.blocks import Section, Table, filled


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items() if each is not None)
    return str(value)


def _gibibytes(value: float) -> str:
    return f"{value / 2**30:.1f} GiB"


# Path of each condition in a run's environment (harness.measuring.environment), and its formatter.
ENVIRONMENT: dict[str, tuple[tuple[str, ...], Callable[[Any], str]]] = {
    "GPU": (("gpu", "name"), _plain),
    "GPUs": (("gpu", "count"), _plain),
    "GPU memory": (("gpu", "memory_bytes"), _gibibytes),
    "compute capability": (("gpu", "compute_capability"), _plain),
    "driver": (("gpu", "driver"), _plain),
    "CUDA": (("gpu", "cuda"), _plain),
    "power cap": (("gpu", "power_cap_w"), lambda watts: f"{_plain(watts)} W"),
    "not known of the GPU": (("gpu", "unknown"), _plain),
    "GPU at the start": (("gpu_now",), _plain),
    "CPU": (("cpu",), _plain),
    "architecture": (("machine",), _plain),
    "usable cores": (("usable_cores",), _plain),
    "memory": (("memory_bytes",), _gibibytes),
    "memory free at the start": (("available_memory_bytes",), _gibibytes),
    "load average at the start": (("load_average",), _plain),
    "host": (("host",), _plain),
    "system": (("system",), _plain),
    "Python": (("python",), _plain),
    "libraries": (("libraries",), _plain),
    "commit": (("git", "commit"), _plain),
    "ranks": (("world_size",), lambda ranks: "" if ranks == 1 else _plain(ranks)),
}


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the tables of the conditions."""
    header = run.header
    found = {
        "started": started(header),
        "resumed": ", ".join(each.started_at for each in run.attempts if not each.rank),
        "model set": header.model_set,
        "device": header.device,
        "engines": ", ".join(header.engines),
        "models": ", ".join(f"{header.names[key]} ({key})" if key in header.names else key for key in header.models),
        "dataset": header.dataset,
        "samples": str(len(header.samples)),
        **environment(header.environment),
    }
    defaults = Options().as_json()
    options = [
        (f"--{option}", _plain(value))
        for option, value in header.options.items()
        if option in defaults and value != defaults[option] and option != "output_dir"
    ]
    facts = [(each.model, each.facts) for each in run.models]
    facts += [(f"{each.model} {each.engine}", each.facts) for each in run.engines]
    rows = dict.fromkeys((whose, fact, _plain(value)) for whose, known in facts for fact, value in known.items())
    title = "models and engines, read back after loading"
    blocks = filled(
        Table(("condition", "value"), [each for each in found.items() if each[1]], text_columns=2),
        Table(("option, where it is not the default", "value"), options, text_columns=2),
        Table(("model", "fact", "value"), list(rows), text_columns=3, folded=title),
    )
    yield Section("conditions", "Conditions", blocks, brief=True)


def started(header: Header) -> str:
    """Return the start of a run, ISO 8601, or for an old result file that it is not recorded."""
    return f"date {NOT_RECORDED}" if header.started_at == NO_TIME else header.started_at


def environment(recorded: dict[str, Any]) -> dict[str, str]:
    """Return the known conditions of a run's environment, formatted, by name."""
    found = {}
    for title, (path, shown) in ENVIRONMENT.items():
        value: Any = recorded
        for key in path:
            value = (value or {}).get(key)
        if value is not None:
            found[title] = shown(value)
    return found
