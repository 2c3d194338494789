"""What deploy/prometheus and deploy/grafana hold, for tests: rules, and the queries of all panels as Prometheus is asked them."""

import dataclasses
import json
import pathlib
import re

import yaml

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PROMETHEUS = SOURCE / "deploy/prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
DASHBOARDS = sorted((SOURCE / "deploy/grafana/dashboards").glob("*.json"))


def rules():
    """All rules as they stand in the files, recording ones first."""
    found = [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    return sorted(found, key=lambda rule: "alert" in rule)


def alerts():
    return [rule for rule in rules() if "alert" in rule]


@dataclasses.dataclass(frozen=True)
class Query:
    dashboard: str  # uid
    panel: str  # title; "" for a variable or an annotation of the whole dashboard
    expr: str

    def filled(self, cluster, interval="1m"):
        """The expression with Grafana's variables replaced."""
        expr = self.expr.replace("$__rate_interval", interval).replace("$__interval", interval).replace("$cluster", cluster)
        assert "$" not in expr, f"{self}: an unknown variable"
        return expr


def dashboards():
    return {path: json.loads(path.read_text()) for path in DASHBOARDS}


def queries():
    """Of every panel, and of what is drawn over all of them."""
    found = []
    for board in dashboards().values():
        for panel in board["panels"]:
            found += [Query(board["uid"], panel["title"], target["expr"]) for target in panel.get("targets", [])]
        found += [Query(board["uid"], "", annotation["expr"]) for annotation in board["annotations"]["list"]]
    return found


def selectors(expr):
    """(metric, [label, ...]) for each metric that an expression names, and the windows and groupings aside."""
    without_strings = re.sub(r'"(\\.|[^"\\])*"', '""', expr)
    found = []
    for match in re.finditer(r"\b((?:marquee|process)_\w+|up|ALERTS|\w+:\w+:\w+)\b(?!\s*\()(\s*\{([^}]*)\})?", without_strings):
        labels = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", match.group(3) or "")
        found.append((match.group(1), labels))
    return found


def catalogue():
    """{metric: its labels}, of docs/metrics.md; histograms by the names of their series."""
    found = {}
    for line in (SOURCE / "docs/metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 6 or not cells[0].startswith("`"):
            continue
        name, labels = cells[0].strip("`"), set(re.findall(r"`(\w+)`", cells[4]))
        if cells[1] == "histogram":
            found |= {f"{name}_sum": labels, f"{name}_count": labels, f"{name}_bucket": labels | {"le"}}
        else:
            found[name] = labels
    return found


def slug(heading):
    """The anchor that Markdown readers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections(markdown):
    """{anchor: text} of a document's sections."""
    parts = re.split(r"^#+ (.*)$", markdown, flags=re.M)
    return {slug(heading): text for heading, text in zip(parts[1::2], parts[2::2], strict=True)}
