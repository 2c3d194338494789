"""A page in a real browser: headless Chromium draws it, and gives back what it then is and what it complained about."""

import html.parser
import pathlib
import re
import shutil
import subprocess
import tempfile

CHROMIUM = shutil.which("chromium")

# Written into a copy of the page, since the width is only known once it is drawn.
MEASURE = "<script>document.body.dataset.width = document.documentElement.scrollWidth + ' of ' + innerWidth</script>"


class Charts(html.parser.HTMLParser):
    """Which charts a page has, and how many shapes each one's drawing holds."""

    def __init__(self, text):
        super().__init__()
        self.shapes = {}
        self.chart = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "div" and attributes.get("class") == "chart":
            self.chart = attributes["id"]
            self.shapes[self.chart] = 0
        elif tag == "figcaption":
            self.chart = None
        elif tag == "path" and self.chart:
            self.shapes[self.chart] += 1


class Rendered:
    def __init__(self, page, width=1280):
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / "page.html"
            copy.write_text(pathlib.Path(page).read_text().replace("</body>", MEASURE + "</body>"))
            command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
            command += [f"--window-size={width},900", "--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom"]
            result = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, timeout=300, check=True)
        self.complaints = [line for line in result.stderr.splitlines() if ":CONSOLE" in line]
        self.shapes = Charts(result.stdout).shapes
        measured = re.search(r'data-width="(\d+) of (\d+)"', result.stdout)
        self.width, self.window = int(measured.group(1)), int(measured.group(2))
