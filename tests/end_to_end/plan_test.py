"""What `scheduler --plan` needs is measured by the benchmarks as docs/planning.md says, for a moment only: whether the plan comes true is for
`train_bench --check-plan` to show on an idle machine."""

import json
import pathlib
import subprocess
import tempfile
import unittest

from movielens_test import SOURCE
from cluster import BIN, small_data


def run(program, *arguments):
    done = subprocess.run([str(part) for part in (BIN / program, *arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


class PlanTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.constants = pathlib.Path(temporary.name) / "machine.json"
        self.demo = ["--cluster", SOURCE / "deploy/local.yaml", "--sweep", SOURCE / "deploy/sweeps/demo.yaml"]

    def plan(self, *arguments):
        return run("scheduler", "--plan", "--constants", self.constants, *arguments)

    def test_measured_costs_make_a_plan(self):
        code, _, errors = self.plan("--cluster", SOURCE / "deploy/plans/billion.yaml")
        self.assertEqual(code, 1)
        self.assertIn("ps_bench --store", errors)

        code, output, errors = run("ps_bench", "--store", self.constants, "--table-rows", "50000", "--rounds", "1", "--round-seconds", "0.4")
        self.assertEqual(code, 0, errors)
        self.assertIn("ns a row", output)
        code, _, errors = self.plan(*self.demo)
        self.assertEqual(code, 1)
        self.assertIn("train_bench --store", errors)

        code, _, errors = run(
            "train_bench", "--store", self.constants, "--sweep", SOURCE / "deploy/sweeps/demo.yaml", "--data", small_data(), "--local-seconds", "0.5"
        )
        self.assertEqual(code, 0, errors)
        code, output, errors = self.plan(*self.demo, "--json")
        self.assertEqual(code, 0, errors)
        plans = [json.loads(line) for line in output.splitlines()]
        # The ranking trials differ in their learning rate only: their steps cost the same.
        self.assertEqual(len(plans), 2)
        for plan in plans:
            self.assertGreater(plan["examples_per_second"], 0)
            self.assertEqual(plan["examples_per_second"], min(limit["examples_per_second"] for limit in plan["limits"]))

        code, output, errors = self.plan("--cluster", SOURCE / "deploy/plans/billion.yaml")
        self.assertEqual(code, 0, errors)
        self.assertIn("32 servers with 256 shards, 1000 workers, replication 2", output)
        self.assertRegex(output, r"limited +by (shards|workers|network|CPU)")
        # A thousand million rows of 128 values and twice, over 32 servers: that much at least.
        self.assertRegex(output, r"memory +each server 3\d\.\d GB of rows")


if __name__ == "__main__":
    unittest.main(verbosity=2)
