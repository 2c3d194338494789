"""`wrangle --explore` in a real browser: every chart is drawn, the console is silent, nothing is fetched, and the page fits a phone."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from browser import CHROMIUM, Rendered  # noqa: E402

WRANGLE = pathlib.Path(os.environ["MARQUEE_BIN"]) / "wrangle"


def wrangle(*arguments):
    return subprocess.run([str(WRANGLE), *map(str, arguments)], capture_output=True, text=True, check=False)


class ExploreTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.data = pathlib.Path(cls.folder.name) / "small.mq"
        cls.page = pathlib.Path(cls.folder.name) / "small.html"
        assert wrangle("--synthetic", "small", "--out", cls.data).returncode == 0
        made = wrangle("--explore", cls.data, "--out", cls.page)
        assert made.returncode == 0, made.stderr

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_page_is_one_file_for_itself(self):
        text = self.page.read_text()
        before_the_library = text.split("<script>")[0]
        for outside in ("src=", "@import", "http", "url("):
            self.assertNotIn(outside, before_the_library.replace("http-equiv", ""))
        self.assertNotIn("<script src", text)
        self.assertIn("synthetic: made up by a program", before_the_library)

    @unittest.skipUnless(CHROMIUM, "NO CHROMIUM: the page was not looked at by a browser")
    def test_a_browser_draws_every_chart_and_has_nothing_to_complain_about(self):
        for width in (1280, 390):
            with self.subTest(width=width):
                rendered = Rendered(self.page, width)
                self.assertEqual(rendered.complaints, [])
                self.assertGreaterEqual(len(rendered.shapes), 11)
                for chart, shapes in rendered.shapes.items():
                    self.assertGreater(shapes, 5, chart)
                self.assertLessEqual(rendered.width, rendered.window)

    @unittest.skipUnless(CHROMIUM, "NO CHROMIUM: the page was not looked at by a browser")
    def test_a_broken_page_would_be_seen(self):
        broken = pathlib.Path(self.folder.name) / "broken.html"
        before, call, after = self.page.read_text().rpartition("echarts.init(")
        broken.write_text(before + "echarts.unit(" + after)
        self.assertTrue(call)
        rendered = Rendered(broken)
        self.assertTrue(any("not a function" in line for line in rendered.complaints), rendered.complaints)
        self.assertEqual(set(rendered.shapes.values()), {0})

    def test_wrong_flags_and_files_are_refused(self):
        self.assertIn("--out FILE is missing: where to write the page", wrangle("--explore", self.data).stderr)
        self.assertIn("name the same file", wrangle("--explore", self.data, "--out", self.data).stderr)
        missing = wrangle("--explore", self.page, "--out", pathlib.Path(self.folder.name) / "x.html")
        self.assertEqual(missing.returncode, 1)
        self.assertIn("small.html", missing.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
