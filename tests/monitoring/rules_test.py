"""Prometheus' own checks of rules and alerts, and what it does not check: that metrics, labels, dashboards and sections of the runbook
which rules and dashboards name are there."""

import itertools
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

import monitoring

TARGET_LABELS = {"job", "instance", "cluster", "role", "name", "host"}
ALERT_TESTS = Path(__file__).with_name("alerts.yml")


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


class RulesTest(unittest.TestCase):
    def test_configuration_is_right(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copytree(monitoring.PROMETHEUS, Path(folder) / "prometheus", dirs_exist_ok=True)
            shutil.rmtree(copy / "targets", ignore_errors=True)
            (copy / "targets").mkdir()
            (copy / "targets/one.json").write_text('[{"targets": ["127.0.0.1:1"], "labels": {"cluster": "c"}}]')
            code, output = promtool("check", "config", copy / "prometheus.yml")
            self.assertEqual(code, 0, output)
            self.assertNotIn("WARNING", output)

    def test_alerts_fire_when_they_should(self):
        code, output = promtool("test", "rules", ALERT_TESTS)
        self.assertEqual(code, 0, output)

    def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(self):
        cases = {"fires": set(), "is silent": set()}
        for test in yaml.safe_load(ALERT_TESTS.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                cases["fires" if case["exp_alerts"] else "is silent"].add(case["alertname"])
        names = {rule["alert"] for rule in monitoring.alerts()}
        for kind, covered in cases.items():
            self.assertEqual(names - covered, set(), f"no case in which it {kind}")
            self.assertEqual(covered - names, set(), "a case of no alert")

    def test_every_alert_leads_to_its_section_of_the_runbook(self):
        sections = monitoring.sections((monitoring.SOURCE / "docs/runbook.md").read_text())
        for rule in monitoring.alerts():
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
                self.assertTrue(rule["annotations"]["summary"])
                base, anchor = rule["annotations"]["runbook_url"].split("#")
                self.assertEqual(base, "{{ $externalLabels.runbook }}")
                self.assertIn(anchor, sections)
                self.assertIn(f"`{rule['alert']}`", sections[anchor])

    def test_the_document_lists_the_alerts(self):
        text = (monitoring.SOURCE / "docs/monitoring.md").read_text()
        listed = re.findall(r"^\| \[`(\w+)`\]\(runbook\.md#([\w-]+)\) \| (\w+) \|", text, flags=re.M)
        expected = {
            (rule["alert"], rule["annotations"]["runbook_url"].split("#")[1], rule["labels"]["severity"]) for rule in monitoring.alerts()
        }
        self.assertEqual(set(listed), expected)
        self.assertEqual(len(listed), len(expected))


class NamesTest(unittest.TestCase):
    """Of metrics and labels, in rules and dashboards."""

    def setUp(self):
        self.catalogue = monitoring.catalogue()
        self.assertGreater(len(self.catalogue), 50)
        self.recorded = {rule["record"] for rule in monitoring.rules() if "record" in rule}

    def check(self, expr):
        named = monitoring.selectors(expr)
        self.assertTrue(named, expr)
        for metric, labels in named:
            if metric in ("up", "ALERTS") or metric in self.recorded:
                continue
            self.assertTrue(metric in self.catalogue, f"{metric} is not in docs/metrics.md: {expr}")
            self.assertEqual(set(labels) - TARGET_LABELS - self.catalogue[metric], set(), f"labels of {metric} in: {expr}")

    def test_of_rules(self):
        for rule in monitoring.rules():
            with self.subTest(rule.get("alert") or rule["record"]):
                self.check(rule["expr"])

    def test_of_dashboards(self):
        for query in monitoring.queries():
            with self.subTest(query):
                self.check(query.filled("c"))

    def test_a_wrong_name_is_found(self):
        for wrong in ("rate(marquee_step_total[5m])", 'marquee_steps_total{phase="pull"}', "cluster:marquee_steps:rate1m"):
            with self.assertRaises(AssertionError, msg=wrong):
                self.check(wrong)

    def test_recorded_series_are_used(self):
        used = {metric for rule in monitoring.rules() for metric, _ in monitoring.selectors(rule["expr"])}
        used |= {metric for query in monitoring.queries() for metric, _ in monitoring.selectors(query.filled("c"))}
        self.assertEqual(self.recorded - used, set())


class DashboardsTest(unittest.TestCase):
    def setUp(self):
        self.boards = monitoring.dashboards()
        self.assertEqual(len(self.boards), 5)

    def test_they_are_told_apart(self):
        for key in ("uid", "title"):
            values = [board[key] for board in self.boards.values()]
            self.assertEqual(len(set(values)), len(values), key)
        for path, board in self.boards.items():
            self.assertEqual(path.stem, board["uid"])
            ids = [panel["id"] for panel in board["panels"]]
            self.assertEqual(len(set(ids)), len(ids), path)

    def test_panels_are_few_and_do_not_overlap(self):
        for path, board in self.boards.items():
            places = [panel["gridPos"] for panel in board["panels"]]
            self.assertLessEqual(len(places), 12, path)
            for place in places:
                self.assertLessEqual(place["x"] + place["w"], 24, path)
            for one, other in itertools.combinations(places, 2):
                beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
                below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
                self.assertTrue(beside or below, f"{path}: {one} {other}")

    def test_panels_say_what_they_show(self):
        for path, board in self.boards.items():
            for panel in board["panels"]:
                if panel["type"] == "text":
                    continue
                with self.subTest(f"{path.stem}: {panel['title']}"):
                    self.assertTrue(panel["title"] and panel["description"])
                    defaults = panel["fieldConfig"]["defaults"]
                    self.assertTrue(defaults["unit"])
                    self.assertTrue(defaults["thresholds"]["steps"])
                    self.assertTrue(panel["targets"])
                    references = [target["refId"] for target in panel["targets"]]
                    self.assertEqual(len(set(references)), len(references))
                    for target in panel["targets"]:
                        self.assertEqual(target["datasource"], {"type": "prometheus", "uid": "${datasource}"})

    def test_links_lead_somewhere(self):
        sections = monitoring.sections((monitoring.SOURCE / "docs/runbook.md").read_text())
        uids = {board["uid"] for board in self.boards.values()}
        for path, board in self.boards.items():
            self.assertEqual({link["title"] for link in board["links"]}, {"marquee", "Runbook"}, path)
            self.assertIn("marquee", board["tags"])
            for link in [link for panel in board["panels"] for link in panel.get("links", [])]:
                if link["url"].startswith("/d/"):
                    self.assertIn(link["url"][3:].split("?")[0], uids)
                else:
                    base, _, anchor = link["url"].partition("#")
                    self.assertEqual(base, "${runbook}")
                    if anchor:
                        self.assertIn(anchor, sections)

    def test_variables_are_those_that_queries_use(self):
        for path, board in self.boards.items():
            self.assertEqual([variable["name"] for variable in board["templating"]["list"]], ["datasource", "cluster", "runbook"], path)

    def test_prometheus_can_read_every_query(self):
        with tempfile.TemporaryDirectory() as folder:
            exprs = [query.filled("c") for query in monitoring.queries()]
            rules = [{"record": f"query_{number}", "expr": expr} for number, expr in enumerate(exprs)]
            file = Path(folder) / "queries.yml"
            file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
            code, output = promtool("check", "rules", file)
            self.assertEqual(code, 0, output)

    def test_provisioning_names_what_is_there(self):
        folder = monitoring.SOURCE / "deploy/grafana/provisioning"
        source = yaml.safe_load((folder / "datasources/marquee.yml").read_text())["datasources"][0]
        self.assertEqual((source["type"], source["access"]), ("prometheus", "proxy"))
        provider = yaml.safe_load((folder / "dashboards/marquee.yml").read_text())["providers"][0]
        self.assertIn(provider["options"]["path"], (monitoring.SOURCE / "docs/monitoring.md").read_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
