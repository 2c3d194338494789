"""A page in a real browser: headless Chromium draws it, and gives back what it then is and what it complained about."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import urllib.parse

CHROMIUM = shutil.which("chromium")

# Added to a copy of the page: what it looks like once it is drawn.
REPORT = """<script>
const shapes = {};
for (const chart of document.querySelectorAll('.chart')) shapes[chart.id] = chart.querySelectorAll('svg path').length;
parent.postMessage({shapes, width: document.documentElement.scrollWidth, window: innerWidth}, '*');
</script></body>"""

# Chromium's own window is never narrower than 500 pixels; a frame is as narrow as a phone.
FRAME = """<body><iframe src="page.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe>
<script>onmessage = event => document.body.dataset.report = encodeURIComponent(JSON.stringify(event.data))</script></body>"""


class Rendered:
    """`shapes` by chart: how many paths its drawing has; `complaints` of the console; `width` of the page in a `window` of CSS pixels."""

    def __init__(self, page, width=1280):
        with tempfile.TemporaryDirectory() as folder:
            before, _, after = pathlib.Path(page).read_text().rpartition("</body>")  # the chart library holds one too
            (pathlib.Path(folder) / "page.html").write_text(before + REPORT + after)
            frame = pathlib.Path(folder) / "frame.html"
            frame.write_text(FRAME.replace("WIDTH", str(width)))
            command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
            command += ["--window-size=1400,1000", "--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom"]
            result = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, timeout=300, check=True)
        self.complaints = [line for line in result.stderr.splitlines() if ":CONSOLE" in line]
        reported = re.search(r'data-report="([^"]*)"', result.stdout)
        if not reported:
            raise AssertionError(f"the page never reported:\n{result.stderr}")
        report = json.loads(urllib.parse.unquote(reported.group(1)))
        self.shapes, self.width, self.window = report["shapes"], report["width"], report["window"]
