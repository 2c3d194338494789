"""The report of a real sweep in a real browser: every chart that the sweep gives reason for is drawn, the console is silent, nothing is fetched,
and the page fits a phone."""

import pathlib
import re
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]

from browser import CHROMIUM, Rendered  # noqa: E402
from cluster import RANKING, TWO_TOWER, Cluster, models  # noqa: E402

DCN = """
  crossed:
    kind: dcn
    dim: 4
    tower: {features: [user_id, movie_id, movie_genres, release_date], layers: [16]}
    cross: {layers: 2, rank: RANK}
    loss: {kind: squared_error}
    optimizer: {kind: adam, learning_rate: 0.005}
    epochs: EPOCHS
    batch_size: 512
"""

SWEEP = models(2, TWO_TOWER, RANKING, DCN.replace("RANK", "0")) + """
sweep:
  trials:
    - {name: towers, model: two_tower, parameters: {dim: {values: [4, 8]}}, reference: {a paper: {top_100: 0.4321}}}
    - {name: stars, model: ranking, parameters: {dim: {values: [4, 8]}, lr: {values: [0.05, 0.1]}}}
    - {name: crossed, model: crossed}
  validate_every: 1
"""

# Nothing differs between trials, and one epoch is no curve.
PLAIN = models(1, TWO_TOWER) + "sweep: {models: [two_tower], keep: none}\n"


def run(sweep):
    """The text of the report that this sweep ends with."""
    with Cluster(sweep) as cluster:
        cluster.start()
        code = cluster.wait()
        page = cluster.out / "report.html"
        if code != 0 or f"Report: {page}" not in cluster.output():
            raise AssertionError(f"exit code {code}:\n{cluster.output()}")
        leftovers = list(cluster.out.glob(".*")) + list(cluster.out.glob("*.tmp*"))
        if leftovers:
            raise AssertionError(f"files left behind: {leftovers}")
        return page.read_text()


def titles(text):
    return re.findall(r"<figcaption>(.*?)</figcaption>", text)


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = run(SWEEP)

    def rendered(self, text, width):
        page = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "report.html"
        page.write_text(text)
        return Rendered(page, width)

    def test_page_is_one_file_for_itself(self):
        before_the_library = self.text.split("<script>")[0]
        for outside in ("src=", "@import", "http", "url("):
            self.assertNotIn(outside, before_the_library.replace("http-equiv", ""))
        self.assertNotIn("<script src", self.text)

    def test_it_says_what_the_sweep_was(self):
        for part in ("synthetic: made up by a program", "a paper top_100", "0.4321", "<caption>two_tower</caption>",
                     "<caption>ranking</caption>", "<caption>dcn</caption>", "popularity", "Kept: models/crossed.",
                     "<caption>Servers</caption>", "rows pushed", "Movies for a few users", "crossed: user ", "learning_rate: 0.05"):
            self.assertIn(part, self.text)

    @unittest.skipUnless(CHROMIUM, "NO CHROMIUM: the page was not looked at by a browser")
    def test_a_browser_draws_every_chart_and_has_nothing_to_complain_about(self):
        expected = [f"{what}: {kind}" for kind, metric in (("two_tower", "top_100"), ("ranking", "rmse"), ("dcn", "rmse"))
                    for what in ("Training loss by epoch", f"Validation {metric} by epoch")]
        expected += ["top_100 against dim: two_tower", "Parameters and validation rmse: ranking", "What the first cross layer multiplies: crossed"]
        self.assertEqual(titles(self.text), expected)
        for width in (1280, 390):
            with self.subTest(width=width):
                rendered = self.rendered(self.text, width)
                self.assertEqual(rendered.complaints, [])
                self.assertEqual(len(rendered.shapes), len(expected))
                for chart, shapes in rendered.shapes.items():
                    self.assertGreater(shapes, 5, chart)
                self.assertLessEqual(rendered.width, rendered.window)

    def test_a_sweep_without_curves_parameters_and_cross_layers_has_no_charts(self):
        text = run(PLAIN)
        self.assertEqual(titles(text), [])
        for section in ("Learning curves", "Parameters", "Feature interactions"):
            self.assertNotIn(section, text)
        self.assertIn("Leaderboard", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
